#!/usr/bin/env python3
"""readme.py LIBRARY [MODEL]: the programs in the documentation compile without a warning and run.

README.md and README.es.md have a whole C program; the blocks of docs/c.md and docs/cpp.md, one behind the other, are a program
each. All run on a tiny model; with the chat model MODEL they print what the pages say."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tiny_chat import make

root = Path(__file__).resolve().parent.parent
warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
compilers = {"c": ["cc", "-std=c11", *warnings], "cpp": ["c++", "-std=c++20", *warnings]}


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (root / page).read_text(), re.S)


def run(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True, timeout=300).stdout


def main(library, model=None):
    question = "What is the capital of Spain?"
    pages = [("README.md", "c", [question], "The capital of Spain is Madrid.\n"),
             ("README.es.md", "c", [question], "The capital of Spain is Madrid.\n")]
    pages += [(page, language, [], "".join(blocks(page, "text"))) for page, language in (("docs/c.md", "c"), ("docs/cpp.md", "cpp"))]
    for page, language, arguments, expected in pages:
        with tempfile.TemporaryDirectory() as folder:
            source, program, tiny = (Path(folder) / name for name in (f"program.{language}", "program", "tiny"))
            make(root / "tests/data/models", tiny)
            source.write_text("".join(blocks(page, language)))
            subprocess.run([*compilers[language], f"-I{root}", f"-I{root}/capi", source, "-o", program, library,
                            f"-Wl,-rpath,{Path(library).resolve().parent}"], check=True)
            answer = run(program, tiny, *arguments)
            assert answer and (arguments or answer.splitlines()[-1] == expected.splitlines()[-1]), f"{page}: {answer}"
            if model:
                answer = run(program, model, *arguments)
                assert answer == expected, f"{page}: {answer}"
        print(f"{page}: compiled and run" + (", and printed what it says" if model else ""))


main(*sys.argv[1:])
