"""capi/alia.h as tests read it: with regular expressions, which its plain style allows, and numbers from a C program that
includes it."""
import re
import subprocess
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent


class Header:
    def __init__(self, text):
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        text = re.sub(r"static inline[^{]*\{.*?\}", "", text, flags=re.S)
        self.text = text  # without comments
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


def measured(header, folder=root / "capi"):
    """Values of enumerators and of the interface's version, sizes, offsets and first bytes of structs, as a C program sees
    folder/alia.h."""
    lines = [f'printf("{n} %lld\\n", (long long){n});' for n in header.enumerators + ["ALIA_ABI_MAJOR", "ALIA_ABI_MINOR"]]
    for name, fields in header.structs.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{f} %zu\\n", offsetof({name}, {f}));' for f, _ in fields]
        macro = f"{name.upper()}_INIT"
        if macro in header.initial:
            lines.append(f'{{ static const {name} s = {macro}; printf("{macro} 0x"); for (size_t i = 0; i < sizeof s; ++i) '
                         f'printf("%02x", ((const unsigned char*)&s)[i]); puts(""); }}')
    with tempfile.TemporaryDirectory() as work:
        source, program = Path(work) / "numbers.c", Path(work) / "numbers"
        source.write_text('#include <stdio.h>\n#include "alia.h"\nint main(void) {\n' + "\n".join(lines) + "\n}\n")
        subprocess.run(["cc", "-std=c11", f"-I{folder}", source, "-o", program], check=True)
        said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: value[2:] if value.startswith("0x") else int(value) for name, value in map(str.split, said.splitlines())}
