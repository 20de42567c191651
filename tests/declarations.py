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


# Rust's names of C's types; what a pointer points to is const or not there as in the header.
rust_scalars = {"int32_t": "i32", "uint32_t": "u32", "int64_t": "i64", "uint64_t": "u64", "float": "f32", "double": "f64", "char": "c_char", "void": "c_void"}


def to_rust(text):
    """A C type as Rust writes it."""
    const, base, stars = re.fullmatch(r"\s*(const\b)?\s*(?:struct\s+)?(\w+)\s*((?:\*\s*(?:const\b\s*)?)*)", text).groups()
    kind, name = bool(const), rust_scalars.get(base, base)
    for star in re.findall(r"\*\s*(const)?", stars):
        kind, name = bool(star), f"*{'const' if kind else 'mut'} {name}"
    return name


def to_rust_arguments(text):
    parts = [] if text.strip() in ("", "void") else [re.fullmatch(r"\s*(.*?)(\w+)\s*", part, re.S).groups() for part in text.split(",")]
    return ", ".join(f"{name}: {to_rust(kind)}" for kind, name in parts)


def to_rust_field(text):
    if m := re.fullmatch(r"\s*([\w\s*]+?)\(\*(\w+)\)\((.*)\)\s*", text, re.S):
        return f'{m[2]}: Option<unsafe extern "C" fn({to_rust_arguments(m[3])}) -> {to_rust(m[1])}>'
    kind, name = re.fullmatch(r"\s*(.*?)(\w+)\s*", text, re.S).groups()
    return f"{name}: {to_rust(kind)}"


def rust_problems(header, numbers, rust):
    """The same for bindings/rust/alia-sys, whose structs have C's layout because their fields have C's types."""
    rust = " ".join(re.sub(r"//.*", "", rust).replace("r#", "").split())
    for before, after in (("( ", "("), (", )", ")"), ("< ", "<"), (", >", ">")):  # where lines were broken
        rust = rust.replace(before, after)
    functions = dict(re.findall(r"pub fn (alia_\w+)([^;]*);", rust))
    for result, name, arguments in re.findall(r"ALIA_API\s+([\w\s*]+?)\b(alia_\w+)\(([^;]*)\);", header.text):
        result = to_rust(result)
        wanted = f"({to_rust_arguments(arguments)})" + ("" if result == "c_void" else f" -> {result}")
        if functions.pop(name, None) != wanted:
            yield f"{name} is not declared as {wanted}"
    yield from (f"{name} is not in the header" for name in functions)
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (alia_\w+);", header.text, re.S):
        fields = "".join(f"pub {to_rust_field(f)}, " for f in body.split(";") if f.strip())
        if f"#[repr(C)] #[derive(Clone, Copy)] pub struct {name} {{ {fields}}}" not in rust:
            yield f"{name} has other fields"
        macro = f"{name.upper()}_INIT"
        if macro in header.initial:
            given = re.search(rf"pub const {macro}: {name} = {name} \{{ (.*?), \}};", rust)
            if not given or dict(f.split(": ") for f in given[1].split(", ")) != rust_initial(getattr(_c, camel(name)), name):
                yield f"{macro} is another"
    known = dict(re.findall(r"pub const (ALIA_\w+): [iu]32 = (\d+);", rust))
    for name in header.enumerators + ["ALIA_ABI_MAJOR", "ALIA_ABI_MINOR"]:
        if known.pop(name, None) != str(numbers[name]):
            yield f"{name} is not {numbers[name]}"
    yield from (f"{name} is not in the header" for name in known)


def rust_initial(struct, name):
    """How Rust writes what the macro says, which Python's struct is known to begin with."""
    def written(field, kind):
        value = getattr(struct(), field)
        if field == "size":
            return f"size_of::<{name}>() as u32"
        if hasattr(kind, "_restype_"):
            return "None"
        if field == "user":
            return "null_mut()"
        if kind in (ctypes.c_void_p, ctypes.c_char_p) or issubclass(kind, ctypes._Pointer):
            return "null()"
        return str(float(value) if kind in (ctypes.c_float, ctypes.c_double) else value)

    return {field: written(field, kind) for field, kind in struct._fields_}


def self_test(header, numbers, rust):
    """Each kind of difference is found."""
    text = (root / "capi/alia.h").read_text()
    for before, after in (("int64_t milliseconds", "int32_t milliseconds"), ("double top_p;", "float top_p;"), ("uint64_t seed;", "uint64_t sead;"),
                          ("ALIA_API alia_status alia_engine_stop(", "ALIA_API alia_status alia_engine_halt("),
                          ("int32_t token, const char** bytes", "const char** bytes")):
        assert before in text, before
        changed = Header(text.replace(before, after, 1))
        assert list(python_problems(changed, numbers)), f"not noticed: {after}"
        assert list(rust_problems(changed, numbers, rust)), f"not noticed in Rust: {after}"
    for name in ("ALIA_BUSY", "alia_event.top", "alia_event", "ALIA_REQUEST_OPTIONS_INIT"):
        assert list(python_problems(header, numbers | {name: 1})), f"not noticed: {name}"
    for before, after in (("ALIA_BUSY: i32 = 18", "ALIA_BUSY: i32 = 17"), ("chunk: 256", "chunk: 255"), ("pub top_p: f64", "pub top_p: f32"),
                          ("pub fn alia_engine_stop(", "pub fn alia_engine_halt("), ("text: *const c_char", "text: *mut c_char")):
        assert before in rust, before
        assert list(rust_problems(header, numbers, rust.replace(before, after, 1))), f"not noticed: {after}"


def main():
    header = Header((root / "capi/alia.h").read_text())
    exported = set(re.findall(r" T (alia_\w+)", subprocess.run(["nm", "-D", _c.lib._name], capture_output=True, text=True, check=True).stdout))
    assert header.functions.keys() <= exported, header.functions.keys() - exported
    numbers = measured(header)
    rust = (root / "bindings/rust/alia-sys/src/lib.rs").read_text()
    self_test(header, numbers, rust)
    problems = [f"bindings/python/alia/_c.py: {p}" for p in python_problems(header, numbers)]
    problems += [f"bindings/rust/alia-sys/src/lib.rs: {p}" for p in rust_problems(header, numbers, rust)]
    print("\n".join(problems) or f"{len(header.functions)} functions, {len(header.structs)} structs, {len(header.enumerators)} enumerators agree")
    return bool(problems)


sys.exit(main())
