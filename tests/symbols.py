#!/usr/bin/env python3
"""What may be seen from outside: symbols.py LIBRARY OBJECT...

The shared library exports the functions that capi/alia.h and capi/alia_unstable.h declare, each of them and nothing else. The object of
kernels/cpu/table.cpp, one for each instruction set, exports its table alone: a weak symbol that was compiled with one set's
instructions could be chosen by the linker for every processor."""
import re
import subprocess
import sys
from pathlib import Path

headers = [Path(__file__).resolve().parent.parent / "capi" / name for name in ("alia.h", "alia_unstable.h")]


def symbols(*arguments):
    listing = subprocess.run(["nm", "--format=posix", *arguments], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listing.splitlines() if len(line.split()) > 1}


def declared(text):
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)
    text = re.sub(r"static inline[^{]*\{[^}]*\}", "", text)
    return set(re.findall(r"\b(alia_\w+)\s*\([^()*]", text))


def library_problems(exported, wanted):
    for name in sorted(exported - wanted):
        yield f"exports {name}, which alia.h does not declare"
    for name in sorted(wanted - exported):
        yield f"lacks {name}, which alia.h declares"


def table_problems(exported):
    names = {name for name in exported if not name.startswith("__odr_asan")}  # AddressSanitizer's own
    if len(names) != 1 or not re.fullmatch(r"_ZN4alia\d+cpu_\w+E", *names):
        yield "exports " + (", ".join(sorted(names)) or "nothing") + " instead of its table alone"


def self_test():
    example = "int alia_a(void); /* alia_b(x) */ typedef int32_t (*alia_c)(int); static inline int alia_d(void) { return alia_a(); }"
    assert declared(example) == {"alia_a"}, declared(example)
    assert list(library_problems({"alia_a", "_ZSt4cout"}, {"alia_a"})) and list(library_problems(set(), {"alia_a"}))
    assert not list(library_problems({"alia_a"}, {"alia_a"}))
    assert list(table_problems({"_ZN4alia8cpu_baseE", "_ZNSt6vectorIiE"})) and list(table_problems(set()))
    assert not list(table_problems({"_ZN4alia8cpu_baseE"}))


def main(library, *objects):
    self_test()
    wanted = set().union(*(declared(h.read_text()) for h in headers))
    problems = [f"{library}: {p}" for p in library_problems(symbols("--dynamic", "--defined-only", library), wanted)]
    for path in objects:
        problems += [f"{path}: {p}" for p in table_problems(symbols("--extern-only", "--defined-only", path))]
    if not objects or len(wanted) < 10:
        problems.append("nothing was looked at")
    print("\n".join(problems) or f"{len(wanted)} functions, {len(objects)} tables")
    return bool(problems)


sys.exit(main(*sys.argv[1:]))
