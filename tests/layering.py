#!/usr/bin/env python3
"""The layers of docs/architecture.md, checked on the #include lines and on words that a layer must not use."""
import re
import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent

# Which of our headers a folder may include, as prefixes; the longest matching folder decides.
layers = {
    "kernels/": ["kernels/"],
    "kernels/cpu/": ["kernels/cpu/", "kernels/*.h"],
    "kernels/ref/": ["kernels/ref/", "kernels/*.h"],
    "kernels/cuda/": ["kernels/cuda/", "alia/ptx.h", "kernels/*.h", "kernels/cpu/threads.h"],
    "engine/": ["engine/", "kernels/tensor.h", "kernels/formats.h", "kernels/ops.h", "kernels/device.h", "kernels/error.h",
                "kernels/processors.h", "kernels/signals.h"],
    "capi/": ["capi/", "alia.h", "alia/", "engine/", "kernels/error.h", "kernels/signals.h"],
    "capi/alia": ["alia/", "../alia.h", "result.hpp", "options.hpp", "alia.h"],
    "capi/examples/": [],
    "bindings/": ["bindings/", "capi/alia.h", "capi/alia_unstable.h"],
    "benchmarks/": ["benchmarks/", "capi/alia.h", "capi/alia_unstable.h"],
    "benchmarks/kernels": ["benchmarks/kernels", "kernels/*.h", "kernels/cpu/threads.h"],
}
# The one home of each third-party library, by its headers' prefix.
homes = {
    "Eigen/": ["kernels/ref/"],
    "sentencepiece": ["engine/sentencepiece"],
    "simdjson": ["engine/json", "bindings/cli/"],
    "utf8proc": ["engine/"],
    "CLI/": ["bindings/cli/"],
    "histedit": ["bindings/cli/line_editor"],
    "benchmark/": ["benchmarks/kernels"],
    "cuda": ["kernels/cuda/"],
    "cublas": ["kernels/cuda/"],
    "immintrin": ["kernels/cpu/simd.h"],
    "arm_neon": ["kernels/cpu/simd.h"],
}
conditional = {"kernels/formats.h", "kernels/cpu/simd.h", "kernels/cpu/isa.cpp", "kernels/cpu/threads.cpp",
               "kernels/cuda/alia/ptx.h", "engine/file.cpp", "capi/alia.h", "capi/alia_unstable.h", "capi/border.h",
               "capi/alia/result.hpp", "capi/alia/options.hpp"}
# The border; threads that could not be started become a typed error; one request's failure is not everybody's; a C++ caller's
# functions behind C's callbacks.
catching = {"capi/border.cpp", "capi/border.h", "kernels/cpu/threads.cpp", "engine/attempt.h", "capi/alia/options.hpp"}
library = ("kernels/", "engine/", "capi/")


def allowed(path, include):
    folder = max((f for f in layers if path.startswith(f)), key=len)
    for pattern in layers[folder]:
        if pattern.endswith("/*.h"):
            if re.fullmatch(re.escape(pattern[:-3]) + r"[^/]*\.h", include):
                return True
        elif include.startswith(pattern):
            return True
    return False


def problems(path, text):
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)
    in_library = path.startswith(library) and not path.startswith("capi/examples/")
    for number, line in enumerate(text.splitlines(), 1):
        here = f"{path}:{number}"
        code = line.split("//")[0]
        if m := re.match(r'\s*#\s*include\s*"([^"]+)"', code):
            if not allowed(path, m[1]):
                yield f"{here}: this layer must not include {m[1]}"
        if m := re.match(r"\s*#\s*include\s*<([^>]+)>", code):
            for prefix, places in homes.items():
                if m[1].startswith(prefix) and not any(path.startswith(p) for p in places):
                    yield f"{here}: <{m[1]}> belongs in {' or '.join(places)}"
        if re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", code) and in_library and path not in conditional:
            yield f"{here}: conditional compilation outside its homes"
        if re.search(r"\basm\b", code) and path != "kernels/cuda/alia/ptx.h":
            yield f"{here}: asm outside ptx.h"
        if re.search(r"\b_mm\d*_\w+\(", code) and path != "kernels/cpu/simd.h":
            yield f"{here}: intrinsics outside simd.h"
        if in_library:
            words = re.sub(r'"(\\.|[^"\\])*"', '""', code)
            if m := re.search(r"\b([fv]?printf|f?puts|cout|cerr|stdout|stderr|exit|abort|terminate)\b", words):
                if not re.search(r"format\(printf", words):
                    yield f"{here}: a library must not {m[1]}"
            if re.search(r"\bcatch \(", words) and path not in catching:
                yield f"{here}: exceptions are caught at the border only"
            if "case Format::" in words:
                yield f"{here}: formats are expanded from their list, never switched on"


def files():
    names = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
    for name in sorted(set(names.stdout.splitlines())):
        if name.startswith(tuple(layers)) and name.endswith((".h", ".hpp", ".cpp", ".cu", ".c")):
            yield name, (root / name).read_text()


def self_test():
    bad = {
        "kernels/cpu/x.h": '#include "engine/model.h"', "engine/x.cpp": '#include "kernels/cpu/simd.h"',
        "bindings/cli/x.cpp": '#include "engine/engine.h"', "engine/y.cpp": "    exit(1);", "engine/z.cpp": "#ifdef X",
        "kernels/x.cpp": "case Format::F32:", "engine/w.cpp": "#include <Eigen/Dense>", "kernels/cuda/x.cu": 'asm("");', "engine/v.cpp": "    } catch (...) {",
        "capi/alia/x.hpp": '#include "engine/engine.h"', "capi/examples/x.c": '#include "engine/engine.h"',
    }
    for path, line in bad.items():
        assert list(problems(path, line)), f"the check lets through, in {path}: {line}"
    good = {"engine/x.cpp": 'std::snprintf(b, 1, "exit");', "capi/x.cpp": '#include "engine/engine.h"'}
    for path, line in good.items():
        assert not list(problems(path, line)), f"the check refuses, in {path}: {line}"


self_test()
found = [p for path, text in files() for p in problems(path, text)]
print("\n".join(found) or "layers hold")
sys.exit(bool(found))
