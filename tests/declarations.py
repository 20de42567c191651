#!/usr/bin/env python3
"""The bindings' declarations against capi/alia.h, both ways: functions with their results and arguments, structs with their
fields, offsets, sizes and first values, enumerators, and the interface's version. ALIA_LIBRARY names the library.

The header is read with regular expressions, which its plain style allows; numbers come from a C program that includes it."""
import ctypes
import re
import subprocess
import sys
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "bindings/python"))
from alia import Status, _c  # noqa: E402

scalars = {"int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64,
           "float": ctypes.c_float, "double": ctypes.c_double, "alia_status": _c.Status, "char": ctypes.c_char}


class Header:
    def __init__(self, text):
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        text = re.sub(r"static inline[^{]*\{.*?\}", "", text, flags=re.S)
        self.text = text
        self.functions = {name: (tidy(result), arguments_of(arguments)) for result, name, arguments in
                          re.findall(r"ALIA_API\s+([\w\s*]+?)\b(alia_\w+)\(([^;]*)\);", text)}
        self.structs = {name: [declared(f) for f in body.split(";") if f.strip()]
                        for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (alia_\w+);", text, re.S)}
        self.enumerators = [n for body in re.findall(r"enum \{(.*?)\};", text, re.S) for n in re.findall(r"\bALIA_\w+", body)]
        self.initial = re.findall(r"#define (ALIA_\w+_INIT)\b", text)


def tidy(text):
    """A type as its base and the number of its stars; const says nothing to an ABI."""
    text = re.sub(r"\b(const|struct)\b", " ", text)
    return "".join(text.replace("*", " ").split()), text.count("*")


def declared(text):
    """A name and its type, or a pointer to a function: ((result, arguments), 0)."""
    if m := re.fullmatch(r"\s*([\w\s*]+?)\(\*(\w+)\)\((.*)\)\s*", text, re.S):
        return m[2], ((tidy(m[1]), arguments_of(m[3])), 0)
    m = re.fullmatch(r"\s*(.*?)(\w+)\s*", text, re.S)
    return m[2], tidy(m[1])


def arguments_of(text):
    return [] if text.strip() in ("", "void") else [declared(part)[1] for part in text.split(",")]


def camel(name):
    return "".join(part.capitalize() for part in name.removeprefix("alia_").split("_"))


def fits(wanted, given, structs):
    """Whether a ctypes type stands for a C type, given as `tidy` does."""
    base, stars = wanted
    if isinstance(base, tuple):
        result, arguments = base
        return issubclass(given, ctypes._CFuncPtr) and same_signature(result, arguments, given._restype_, given._argtypes_, structs)
    if base == "alia_progress_callback":
        return given is _c.ProgressCallback
    if stars == 0:
        return given is (None if base == "void" else scalars[base])
    if stars == 1:
        if given is ctypes.c_void_p:
            return base not in structs or base in ("alia_model", "alia_engine")
        if given is ctypes.c_char_p:
            return base in ("char", "void")
        return given is ctypes.POINTER(getattr(_c, camel(base)) if base in structs else scalars.get(base))
    if base in ("char", "void") and given is ctypes.POINTER(ctypes.c_char_p):
        return stars == 2
    opaque = base in ("alia_model", "alia_engine", "char", "void")
    return given is ctypes.POINTER(ctypes.c_void_p if opaque else ctypes.POINTER(scalars[base]))


def same_signature(result, arguments, given_result, given_arguments, structs):
    return fits(result, given_result, structs) and len(arguments) == len(given_arguments) and all(
        fits(a, g, structs) for a, g in zip(arguments, given_arguments))


def python_problems(header, numbers):
    for name, (result, arguments) in header.functions.items():
        if name not in _c.FUNCTIONS:
            yield f"{name} is not declared"
        elif not same_signature(result, arguments, _c.FUNCTIONS[name][0], _c.FUNCTIONS[name][1:], header.structs):
            yield f"{name} is declared as something else"
    yield from (f"{name} is not in the header" for name in _c.FUNCTIONS.keys() - header.functions.keys())
    for name, fields in header.structs.items():
        struct = getattr(_c, camel(name), None)
        if not struct:
            yield f"{name} is not declared"
            continue
        if [f for f, _ in fields] != [f for f, _ in struct._fields_]:
            yield f"{name} has other fields"
            continue
        yield from (f"{name}.{f} is of another type" for (f, wanted), (_, given) in zip(fields, struct._fields_)
                    if not fits(wanted, given, header.structs))
        yield from (f"{name}.{f} lies elsewhere" for f, _ in fields if getattr(struct, f).offset != numbers[f"{name}.{f}"])
        if ctypes.sizeof(struct) != numbers[name]:
            yield f"{name} has another size"
        if (initial := numbers.get(f"{name.upper()}_INIT")) and bytes(struct()).hex() != initial:
            yield f"{name} begins with other values"
    known = {f"ALIA_{s.name}": s.value for s in Status} | {f"ALIA_{n}": v for n, v in vars(_c).items() if n.isupper() and isinstance(v, int)}
    for name in header.enumerators + ["ALIA_ABI_MAJOR", "ALIA_ABI_MINOR"]:
        if known.pop(name, None) != numbers[name]:
            yield f"{name} is not {numbers[name]}"
    yield from (f"{name} is not in the header" for name in known)


def measured(header, folder):
    """What a C program says of the header."""
    lines = [f'printf("{n} %lld\\n", (long long){n});' for n in header.enumerators + ["ALIA_ABI_MAJOR", "ALIA_ABI_MINOR"]]
    for name, fields in header.structs.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{f} %zu\\n", offsetof({name}, {f}));' for f, _ in fields]
        macro = f"{name.upper()}_INIT"
        if macro in header.initial:
            lines.append(f'{{ static const {name} s = {macro}; printf("{macro} 0x"); for (size_t i = 0; i < sizeof s; ++i) '
                         f'printf("%02x", ((const unsigned char*)&s)[i]); puts(""); }}')
    source, program = folder / "numbers.c", folder / "numbers"
    source.write_text('#include <stdio.h>\n#include "capi/alia.h"\nint main(void) {\n' + "\n".join(lines) + "\n}\n")
    subprocess.run(["cc", "-std=c11", f"-I{root}", source, "-o", program], check=True)
    words = (line.split() for line in subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines())
    return {name: value[2:] if value.startswith("0x") else int(value) for name, value in words}


def self_test(header, numbers):
    """Each kind of difference is found."""
    text = (root / "capi/alia.h").read_text()
    for before, after in (("int64_t milliseconds", "int32_t milliseconds"), ("double top_p;", "float top_p;"), ("uint64_t seed;", "uint64_t sead;"),
                          ("ALIA_API alia_status alia_engine_stop(", "ALIA_API alia_status alia_engine_halt("),
                          ("int32_t token, const char** bytes", "const char** bytes")):
        assert before in text, before
        changed = Header(text.replace(before, after, 1))
        assert list(python_problems(changed, numbers)), f"not noticed: {after}"
    for name in ("ALIA_BUSY", "alia_event.top", "alia_event", "ALIA_REQUEST_OPTIONS_INIT"):
        assert list(python_problems(header, numbers | {name: 1})), f"not noticed: {name}"


def main():
    header = Header((root / "capi/alia.h").read_text())
    exported = set(re.findall(r" T (alia_\w+)", subprocess.run(["nm", "-D", _c.lib._name], capture_output=True, text=True, check=True).stdout))
    assert header.functions.keys() <= exported, header.functions.keys() - exported
    with tempfile.TemporaryDirectory() as folder:
        numbers = measured(header, Path(folder))
    self_test(header, numbers)
    problems = [f"bindings/python/alia/_c.py: {p}" for p in python_problems(header, numbers)]
    print("\n".join(problems) or f"{len(header.functions)} functions, {len(header.structs)} structs, {len(header.enumerators)} enumerators agree")
    return bool(problems)


sys.exit(main())
