#!/usr/bin/env python3
"""readme.py LIBRARY [MODEL]: the C program of README.md and README.es.md compiles against capi/alia.h without a warning and, given
a chat model, answers."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def main(library, model=None):
    for name in ("README.md", "README.es.md"):
        programs = re.findall(r"```c\n(.*?)```", (root / name).read_text(), re.S)
        assert len(programs) == 1, f"{name} has {len(programs)} C programs"
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder) / "answer.c", Path(folder) / "answer"
            source.write_text(programs[0])
            subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{root}", source, "-o", program,
                            library, f"-Wl,-rpath,{Path(library).resolve().parent}"], check=True)
            if model:
                answer = subprocess.run([program, model, "What is the capital of Spain?"], capture_output=True, text=True, check=True)
                assert answer.stdout == "The capital of Spain is Madrid.\n", answer.stdout
        print(f"{name}: compiled" + (" and answered" if model else ""))


main(*sys.argv[1:])
