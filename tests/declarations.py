#!/usr/bin/env python3
"""The bindings' declarations against capi/alia.h, both ways: functions with their results and arguments, structs with their
fields, offsets, sizes and first values, enumerators, and the interface's version. ALIA_LIBRARY names the library."""
import ctypes
import re
import subprocess
import sys

from header import Header, measured, root

sys.path.insert(0, str(root / "bindings/python"))
from alia import Status, _c  # noqa: E402

scalars = {"int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64,
           "float": ctypes.c_float, "double": ctypes.c_double, "alia_status": _c.Status, "char": ctypes.c_char}


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
    numbers = measured(header)
    self_test(header, numbers)
    problems = [f"bindings/python/alia/_c.py: {p}" for p in python_problems(header, numbers)]
    print("\n".join(problems) or f"{len(header.functions)} functions, {len(header.structs)} structs, {len(header.enumerators)} enumerators agree")
    return bool(problems)


sys.exit(main())
