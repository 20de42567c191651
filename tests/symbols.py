#!/usr/bin/env python3
"""What may be seen from outside, and what is reached for there: symbols.py LIBRARY ARCHIVE TABLE...

The shared library exports the functions that capi/alia.h and capi/alia_unstable.h declare, each of them and nothing else. The object of
kernels/cpu/table.cpp, one for each instruction set, exports its table alone: a weak symbol that was compiled with one set's
instructions could be chosen by the linker for every processor.

No object of the archive, which is the same library to link statically, ends the process, writes to its standard streams, or leaves
anything to be run at its end or on a signal; nor does any keep a static that is made at its first use: a process forked while another
thread made it would wait for it for ever."""
import re
import subprocess
import sys
from pathlib import Path

headers = [Path(__file__).resolve().parent.parent / "capi" / name for name in ("alia.h", "alia_unstable.h")]

ends = """abort exit _exit _Exit quick_exit raise kill __assert_fail __assert_perror_fail __cxa_pure_virtual _ZSt9terminatev
    _ZSt10unexpectedv _ZSt21__glibcxx_assert_failPKciS0_S0_""".split()
says = re.compile(r"(__)?(v?[fd]?w?printf|f?putw?[cs]|putw?char|fwrite|perror|psignal|v?syslog)(_chk|_unlocked)?"
                  r"|stdout|stderr|_ZSt\d+(w?cout|w?cerr|w?clog)")
stays = "atexit on_exit at_quick_exit __cxa_atexit pthread_atfork signal sigaction".split()
# What compilers bring in, each with the objects that it is expected in.
excused = {
    "_ZSt9terminatev": r"",  # std::thread's destructor, of one that is not joined; tests/layering.py reads the source
    "__cxa_pure_virtual": r"",  # in the virtual tables of abstract classes
    "exit": r"\.cu\.o$",  # nvcc: the host's side of functions that run on the device alone
    "atexit": r"\.cu\.o$",  # nvcc: device code is registered, and no longer so at the end
}


def listing(*arguments):
    text = subprocess.run(["nm", "--format=posix", *arguments], capture_output=True, text=True, check=True).stdout
    return [line.split() for line in text.splitlines() if len(line.split()) > 1]


def symbols(*arguments):
    return {words[0] for words in listing(*arguments)}


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


def object_problems(name, symbol, kind):
    if kind == "U" and (symbol in ends or symbol in stays or says.fullmatch(symbol)):
        if symbol not in excused or not re.search(excused[symbol], name):
            yield f"refers to {symbol}"
    elif kind != "U" and symbol.startswith("_ZGV") and "__device_stub__" not in symbol:  # nvcc's own
        yield f"makes a static at its first use: {symbol}"


def self_test():
    example = "int alia_a(void); /* alia_b(x) */ typedef int32_t (*alia_c)(int); static inline int alia_d(void) { return alia_a(); }"
    assert declared(example) == {"alia_a"}, declared(example)
    assert list(library_problems({"alia_a", "_ZSt4cout"}, {"alia_a"})) and list(library_problems(set(), {"alia_a"}))
    assert not list(library_problems({"alia_a"}, {"alia_a"}))
    assert list(table_problems({"_ZN4alia8cpu_baseE", "_ZNSt6vectorIiE"})) and list(table_problems(set()))
    assert not list(table_problems({"_ZN4alia8cpu_baseE"}))
    wrong = "abort exit printf __fprintf_chk puts fputs_unlocked stderr _ZSt4cout _ZSt5wclog sigaction __cxa_atexit vsyslog".split()
    assert all(list(object_problems("a.cpp.o", s, "U")) for s in wrong)
    assert list(object_problems("a.cpp.o", "_ZGVZN4alia1fEvE1x", "b"))
    for name, symbol in ("a.cpp.o", "snprintf"), ("a.cpp.o", "_ZGVdN4v_expf"), ("a.cpp.o", "_ZSt9terminatev"), ("a.cu.o", "exit"):
        assert not list(object_problems(name, symbol, "U")), symbol


def main(library, archive, *tables):
    self_test()
    wanted = set().union(*(declared(h.read_text()) for h in headers))
    problems = [f"{library}: {p}" for p in library_problems(symbols("--dynamic", "--defined-only", library), wanted)]
    members = set()
    for place, symbol, kind, *_ in listing("--print-file-name", archive):
        name = place[place.rindex("[") + 1:].rstrip("]:")
        members.add(name)
        problems += [f"{name}: {p}" for p in object_problems(name, symbol, kind)]
    for path in tables:
        problems += [f"{path}: {p}" for p in table_problems(symbols("--extern-only", "--defined-only", path))]
    if not tables or len(wanted) < 10 or len(members) < 50:
        problems.append("nothing was looked at")
    print("\n".join(problems) or f"{len(wanted)} functions, {len(members)} objects, {len(tables)} tables")
    return bool(problems)


sys.exit(main(*sys.argv[1:]))
