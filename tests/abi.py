#!/usr/bin/env python3
"""Releases of the C interface stay true: abi.py LIBRARY MODEL, or abi.py --release LIBRARY

tests/abi/VERSION keeps what a release was: its header, the numbers that programs compiled in (numbers.txt), abidw's description of
its library (libalia.abi) and a program (client.c). Today's header must hold all of it: the same functions, enumerators and
structs, which may have grown at their ends; abidiff must find nothing else; and the program, compiled with the old header,
must run with today's library. What is added since the last release needs a higher minor number. --release writes the
folder of the header's own version, all but the program."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from header import Header, measured, root

releases = root / "tests/abi"
fixed = {"alia_top_token"}  # structs that say that they never grow


def version_of(numbers):
    return numbers["ALIA_ABI_MAJOR"], numbers["ALIA_ABI_MINOR"]


def broken_promises(old, old_numbers, new, new_numbers):
    for name, signature in old.functions.items():
        if new.functions.get(name) != signature:
            yield f"{name} is {'another function' if name in new.functions else 'gone'}"
    for name, fields in old.structs.items():
        if new.structs.get(name, [])[:len(fields)] != fields:
            yield f"{name} does not begin as it did"
    for name, value in old_numbers.items():
        now = new_numbers.get(name)
        if name.startswith("ALIA_ABI_"):
            continue
        if name.endswith("_INIT"):  # but for the size in front
            same = now is not None and now[8:len(value)] == value[8:]
        elif name in old.structs and name not in fixed:
            same = now is not None and now >= value
        else:
            same = now == value
        if not same:
            yield f"{name} is {now} and was {value}"


def additions(old, old_numbers, new, new_numbers):
    return (new.functions.keys() - old.functions.keys()) | (new_numbers.keys() - old_numbers.keys())


def describe(library, to):
    subprocess.run(["abidw", "--exported-interfaces-only", "--no-show-locs", "--no-comp-dir-path", "--no-corpus-path", library,
                    "--out-file", to], check=True)
    to.write_text(to.read_text().replace(f"{root}/", ""))


def changes(description, library, promised):
    """What abidiff finds, but that structs have grown at their ends, and what was never promised."""
    described = set(re.findall(r"elf-symbol name='(alia_\w+)'", description.read_text()))
    unstable = "|".join(sorted(described - promised)) or "^$"
    with tempfile.NamedTemporaryFile("w", suffix=".abignore") as rules:
        rules.write("[suppress_type]\nname_regexp = ^alia_\nhas_data_member_inserted_at = end\n"
                    f"[suppress_function]\nsymbol_name_regexp = ^({unstable})$\n")
        rules.flush()
        done = subprocess.run(["abidiff", "--exported-interfaces-only", "--no-added-syms", "--suppressions", rules.name,
                               description, library], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def run_client(folder, library, model):
    with tempfile.TemporaryDirectory() as work:
        program = Path(work) / "client"
        subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{folder}", folder / "client.c", library,
                        f"-Wl,-rpath,{Path(library).resolve().parent}", "-lm", "-o", program], check=True)
        done = subprocess.run([program, model], capture_output=True, text=True, timeout=120)
    return "" if done.returncode == 0 else f"its program ends with {done.returncode}: {done.stdout}{done.stderr}"


def self_test(text):
    """Each kind of broken promise is found."""
    header = Header(text)
    numbers = measured(header)
    assert not list(broken_promises(header, numbers, header, numbers))
    for before, after in (("int64_t milliseconds", "int32_t milliseconds"), ("double top_p;", "double top_q;"),
                          ("alia_engine_stop(", "alia_engine_halt(")):
        assert before in text, before
        assert list(broken_promises(header, numbers, Header(text.replace(before, after)), numbers)), after
    for name in ("ALIA_BUSY", "alia_event.top", "alia_top_token", "ALIA_REQUEST_OPTIONS_INIT", "alia_event"):
        changed = "00000000ff" if name.endswith("_INIT") else numbers[name] - 1
        assert list(broken_promises(header, numbers, header, numbers | {name: changed})), name
    older = Header(text)
    older.functions.popitem()
    assert additions(older, numbers, header, numbers)


def check(library, model):
    text = (root / "capi/alia.h").read_text()
    self_test(text)
    new = Header(text)
    new_numbers = measured(new)
    folders = sorted((f for f in releases.iterdir() if f.is_dir()), key=lambda f: tuple(map(int, f.name.split("."))))
    assert folders, "no release is kept"
    for folder in folders:
        old = Header((folder / "alia.h").read_text())
        old_numbers = measured(old, folder)
        kept = (folder / "numbers.txt").read_text()
        if kept != numbers_text(old_numbers):
            yield f"{folder.name}: numbers.txt is not what its header says"
        yield from (f"{folder.name}: {p}" for p in broken_promises(old, old_numbers, new, new_numbers))
        if found := changes(folder / "libalia.abi", library, old.functions.keys()):
            yield f"{folder.name}: abidiff finds\n{found}"
        if found := run_client(folder, library, model):
            yield f"{folder.name}: {found}"
        print(f"{folder.name}: {len(old.functions)} functions, {len(old_numbers)} numbers")
    more = additions(old, old_numbers, new, new_numbers)
    if more and version_of(new_numbers) <= version_of(old_numbers):
        yield f"ALIA_ABI_MINOR must be raised: {', '.join(sorted(more))} came after {folders[-1].name}"


def numbers_text(numbers):
    return "".join(f"{name} {value}\n" for name, value in numbers.items())


def release(library):
    header = Header((root / "capi/alia.h").read_text())
    numbers = measured(header)
    folder = releases / "{}.{}".format(*version_of(numbers))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alia.h").write_text((root / "capi/alia.h").read_text())
    (folder / "numbers.txt").write_text(numbers_text(numbers))
    describe(library, folder / "libalia.abi")
    print(folder)


if __name__ == "__main__":
    if sys.argv[1] == "--release":
        release(sys.argv[2])
    else:
        problems = list(check(*sys.argv[1:]))
        print("\n".join(problems))
        sys.exit(bool(problems))
