#!/usr/bin/env python3
"""documentation.py BUILD [MODEL]: the code blocks of the documentation run, over the library and the programs of BUILD.

A page's blocks of C, of C++ and of Python, one behind the other, are a program each, and its blocks of sh run in their order, where
these are program.c, program.cpp and program.py. What is printed stands in the blocks of text behind them. On a tiny model only those
are compared whose fence says `always`; with the chat model MODEL all are. Rust's blocks are doc tests, and with MODEL programs too.
`openai` on a fence leaves it to tests/server_clients.py; `no_run` is for what installs or builds, and rare. A page in Spanish has
the same blocks as the one in English, and the same headings and tables.

The READMEs have a C program each, answer.c, and lines that begin with `$`: on the tiny model all of them run, with MODEL those whose
output follows them, which must be that."""
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tiny_chat import make

root = Path(__file__).resolve().parent.parent
pages = ["c", "cpp", "python", "rust", "server", "chat"]
most_not_run = 3
warnings = "-Wall -Wextra -Wpedantic -Werror"
programs = {"c": "program.c", "cpp": "program.cpp", "python": "program.py"}
built = "$(pkg-config --cflags --libs alia) -o program && ./program model.gguf"
runs = {"c": f"cc -std=c11 program.c {built}", "cpp": f"c++ -std=c++20 program.cpp {built}", "python": "python3 -W error program.py"}
fence = r"(?ms)^```(\w*) ?(\w*)\n(.*?)^```$"
port = "127.0.0.1:8000"  # where the pages have the server


@dataclass
class Block:
    language: str
    word: str
    text: str


def blocks(page):
    text = page.read_text()
    indented = re.search(r"(?m)^\n    .*", re.sub(fence, "", text))
    assert not indented, f"{page.name}: an indented block, which nothing runs: {indented[0].strip()}"
    return [Block(*found) for found in re.findall(fence, text)]


def check_page(name):
    """Something runs each block, and the page in Spanish is alike. Gives the blocks that are not run."""
    english, spanish = root / f"docs/{name}.md", root / f"docs/{name}.es.md"
    every = blocks(english)
    for block in every:
        known = block.language in {*programs, "sh", "rust", "toml", "text"} and block.word in {"", "no_run", "openai", "always"}
        assert known, f"{english.name}: nothing runs blocks of {block.language} {block.word}"
        if block.language == "toml":
            [crate] = tomllib.loads(block.text)["dependencies"].values()
            manifest = tomllib.loads((root / crate["path"].removeprefix("libalia/") / "Cargo.toml").read_text())
            assert set(crate["features"]) <= set(manifest["features"]), f"{english.name}: {crate}"
    if any(block.language == "rust" for block in every):
        assert f"docs/{english.name}" in (root / "bindings/rust/alia/src/lib.rs").read_text(), f"{english.name} has no doc tests"
    for one, other in zip([*every, None], [*blocks(spanish), None]):
        assert one == other, f"{english.name} has {one}, {spanish.name} {other}"
    shapes = [re.findall(r"(?m)^(#+ |\||- )", page.read_text()) for page in (english, spanish)]
    assert shapes[0] == shapes[1], f"{english.name} and {spanish.name} differ in headings, lists or tables"
    assert f"]({spanish.name})" in english.read_text() and f"]({english.name})" in spanish.read_text()
    return [block for block in every if block.word == "no_run"]


def check_links():
    for page in [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("benchmarks/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", re.sub(fence, "", page.read_text())):
            assert (page.parent / target).exists(), f"{page.relative_to(root)}: there is no {target}"


class Work:
    """A folder in which pages run: model.gguf, the tests, and the commands that the pages use."""

    def __init__(self, build, folder, model):
        self.model, self.folder, self.build = model, folder / "work", Path(build).resolve()
        self.folder.mkdir()
        prefix, commands = folder / "prefix", folder / "bin"
        subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
        libraries = next(prefix.rglob("libalia.so")).parent
        alia = self.build / "bindings/cli/alia"
        commands.mkdir()
        for name, command in {"cc": f"/usr/bin/cc {warnings}", "c++": f"/usr/bin/c++ {warnings}", "alia": alia, "python3": "/usr/bin/python3",
                              "curl": "/usr/bin/curl --silent --show-error --fail-with-body"}.items():
            (commands / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (commands / name).chmod(0o755)
        (self.folder / "tests").symlink_to(root / "tests")
        if model:
            (self.folder / "model.gguf").symlink_to(Path(model).resolve())
        else:
            make(root / "tests/data/models", folder / "tiny")
            subprocess.run([alia, "quantize", folder / "tiny", self.folder / "model.gguf", "--type", "F32"], check=True, capture_output=True)
        self.environment = os.environ | {
            "PATH": f"{commands}:{os.environ['PATH']}", "PKG_CONFIG_PATH": f"{libraries}/pkgconfig", "LD_LIBRARY_PATH": str(libraries),
            "ALIA_LIBRARY": str(libraries / "libalia.so"), "PYTHONPATH": str(root / "bindings/python"), "PYTHONDONTWRITEBYTECODE": "1",
            "CARGO_TARGET_DIR": str(self.build / "rust"), "MODEL": str(self.folder / "model.gguf"), "LC_ALL": "C.UTF-8"}

    def run(self, *command):
        """What it prints."""
        done = subprocess.run([str(c) for c in command], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def rust(self, programs):
        """A crate beside the others', with a program for each block."""
        crate = self.folder / "crate"
        (crate / "src/bin").mkdir(parents=True, exist_ok=True)
        (crate / "Cargo.toml").write_text('[package]\nname = "page"\nversion = "0.0.0"\nedition = "2021"\n\n[dependencies]\n'
                                          f'alia = {{ path = "{root}/bindings/rust/alia" }}\n')
        for i, text in enumerate(programs):
            (crate / f"src/bin/program{i}.rs").write_text(text)
        return "".join(self.run("cargo", "run", "--offline", "--quiet", "--manifest-path", crate / "Cargo.toml", "--bin", f"program{i}")
                       for i in range(len(programs)))

    def compare(self, where, printed, expected):
        """`expected`: blocks of text."""
        for block in expected:
            assert block.word != "always" or block.text.strip() in printed, f"{where}: printed\n{printed}and not\n{block.text}"
        told = "".join(block.text for block in expected)
        assert not self.model or not told or printed.rstrip("\n") == told.rstrip("\n"), f"{where}: printed\n{printed}and not\n{told}"


class Server:
    """What a block starts, on a free port."""

    def __init__(self, work, code):
        self.work = work
        self.process = subprocess.Popen(["bash", "-c", f"exec {code.strip()} --port 0 --context 4096"], cwd=work.folder, env=work.environment,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        said = ""
        while not (m := re.search(r"http://(127\.0\.0\.1:\d+)", said)):
            line = self.process.stderr.readline()
            assert line, said
            said += line
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.work.run("curl", "--retry", "600", "--retry-delay", "1", "--retry-all-errors", f"http://{m[1]}/health")
        return m[1]

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(60) == 0, "the server did not end well"


def run_page(work, name):
    code, expected, rust, steps = defaultdict(str), defaultdict(list), [], []  # a step: commands, and what they print
    for block in blocks(root / name):
        if block.language == "text":
            (steps[-1][1] if language == "sh" else expected[language]).append(block)
            continue
        language = block.language
        if block.word:
            continue
        if language == "sh":
            steps.append((block.text, []))
        elif language == "rust":
            rust.append(block.text)
        else:
            code[language] += block.text
    for language in programs.keys() & code.keys():
        (work.folder / programs[language]).write_text(code[language])
        if not any(programs[language] in commands.split() for commands, _ in steps):
            steps.append((runs[language], []))
        [told] = [told for commands, told in steps if programs[language] in commands.split()]
        told.extend(expected[language])
    with ExitStack() as servers:
        address = port
        for commands, told in steps:
            if commands.startswith("python3 -m alia.server"):
                servers.close()
                address = servers.enter_context(Server(work, commands))
            else:
                work.compare(name, work.run("bash", "-euo", "pipefail", "-c", commands.replace(port, address)), told)
    if work.model and rust:
        work.compare(name, work.rust(rust), expected["rust"])
    print(f"{name}: {len(steps) + len(rust) * bool(work.model)} runs")


def prepare_readme(work):
    """What the READMEs' lines speak of."""
    (work.folder / "capi").symlink_to(root / "capi")
    (work.folder / "build/run").mkdir(parents=True)
    (work.folder / "build/run/capi").symlink_to(work.build / "capi")
    for name in ("questions.jsonl", "preguntas.jsonl"):
        (work.folder / name).write_text('{"prompt": "What is the capital of Spain?", "max_tokens": 10}\n')
    for name, changes in {"awq": {"quantization_config": {"quant_method": "awq"}}, "biased": {"attention_bias": True},
                          "mixtral": {"architectures": ["MixtralForCausalLM"]}}.items():
        make(root / "tests/data/models", work.folder / name)
        config = work.folder / name / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    whole = (work.folder / "model.gguf").read_bytes()
    (work.folder / "cut.gguf").write_bytes(whole[: 50_000_000 if work.model else len(whole) // 2])


def run_readme(work, name, ran):
    """`ran`: lines that an earlier page had too."""
    text = (root / name).read_text()
    [program] = re.findall(r"```c\n(.*?)```", text, re.S)
    (work.folder / "answer.c").write_text(program)
    for line, told in re.findall(r"(?m)^    \$ (.*)\n((?:    (?!\$ ).*\n)*)", text):
        told = re.sub(r"(?m)^    ", "", told)
        quiet = not told and line.startswith("alia ")
        if line in ran or (quiet if work.model else "--decode" in line) or line.startswith("alia bench"):
            continue  # the tiny model lacks the token that is decoded; bench takes seconds, and the tests of the command line have it
        done = subprocess.run(["bash", "-c", line], cwd=work.folder, env=work.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        fails = told.startswith("alia: ")
        assert (done.returncode != 0) == fails, f"{name}: {line}: {done.returncode}\n{done.stdout}{done.stderr}"
        if told and work.model:
            printed, wanted = (re.sub(r"(?m)^available .*", "", text) for text in (done.stderr if fails else done.stdout, told))
            assert printed.rstrip("\n") == wanted.rstrip("\n"), f"{name}: {line}: printed\n{printed}and not\n{wanted}"
        if "answer" not in line:
            ran.add(line)
    print(f"{name}: its lines and its program")


def main(build, model=None):
    not_run = [block for page in pages for block in check_page(page)]
    assert len(not_run) <= most_not_run, f"{len(not_run)} blocks are not run"
    check_links()
    with tempfile.TemporaryDirectory() as folder:
        work = Work(build, Path(folder), model)
        prepare_readme(work)
        lines = set()
        run_readme(work, "README.md", lines)
        run_readme(work, "README.es.md", lines)
        for page in pages:
            run_page(work, f"docs/{page}.md")


main(*sys.argv[1:])
