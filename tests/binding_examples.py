#!/usr/bin/env python3
"""binding_examples.py python|rust [MODEL]: the examples of a binding run, on the tiny model or, given a chat model, on that one, whose answers
are then looked at. For Rust the environment's ALIA_RUST_EXAMPLES is the folder of the built programs."""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))
import tiny  # noqa: E402


def command(binding, name):
    if binding == "python":
        return ["/usr/bin/python3", tiny.root / f"bindings/python/examples/{name}.py"]
    return [Path(os.environ["ALIA_RUST_EXAMPLES"]) / name]


def main(binding, chat=None):
    environment = os.environ | {"PYTHONPATH": str(tiny.root / "bindings/python")}
    names = {f.stem for f in (tiny.root / "bindings/python/examples").glob("*.py")} if binding == "python" else {
        f.stem for f in (tiny.root / "bindings/rust/alia/examples").glob("*.rs")}
    ran = set()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        tiny.write(folder / "model")
        (folder / "questions").write_text("what colour is it\nwhat is it called\n")
        (folder / "document").write_text("ada has a red boat called gull. " * 10)
        model = chat or folder / "model"

        for name in names:
            done = subprocess.run([*map(str, command(binding, name))], capture_output=True, text=True, env=environment)
            assert done.returncode != 0 and f"{name}{'.py' if binding == 'python' else ''} MODEL " in done.stderr, (name, done.stderr)

        def run(name, *arguments):
            ran.add(name)
            done = subprocess.run([*map(str, command(binding, name)), str(model), *map(str, arguments)], capture_output=True, text=True,
                                  env=environment, timeout=300)
            assert done.returncode == 0, (name, done.stderr)
            if chat:
                print(f"==> {name}\n{done.stdout}", end="")
            return done.stdout, done.stderr

        answer, _ = run("ask", "What is the capital of Spain?")
        streamed, tokens = run("stream", "What is the capital of Spain?")
        assert streamed == answer.rstrip("\n") and re.search(r"\n\d+ tokens\n$", tokens), (streamed, answer, tokens)
        asked = run("ask", "What is the capital of Spain?", "Answer in one sentence.")[0]
        assert not chat or "Madrid" in asked, asked
        lines = run("batch", folder / "questions")[0]
        assert all(re.search(rf"(?m)^{q}\n    ", lines) for q in ("what colour is it", "what is it called")), lines
        if binding == "python":
            assert run("together", "What is the capital of Spain?", "a")[0].startswith(answer)
        near = run("embed", "boat", "boat", "the moon is far")[0].splitlines()
        assert near[0] == "1.000 boat" and re.fullmatch(r"-?0\.\d{3} the moon is far", near[1]), near
        first = run("conversation", folder / "state", "a")[0]
        size = (folder / "state").stat().st_size
        assert first and run("conversation", folder / "state", "b")[0] and (folder / "state").stat().st_size > size
        told, shared = run("documents", folder / "questions", folder / "document")
        assert told.count(f"{folder / 'document'}: what ") == 2 and (m := re.search(r": (\d+) of \d+ tokens shared\n$", shared)), (told, shared)
        assert int(m[1]) > 0, shared
    assert ran == names, f"not run: {names - ran}"
    print(f"{len(ran)} examples of {binding}")


main(*sys.argv[1:])
