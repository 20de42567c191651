#!/usr/bin/env python3
"""rust.py BUILD [bundled]: the crates of bindings/rust, offline, over the library of BUILD as it installs (or, bundled, as the crate
builds it): tests, doc tests, the blocks of docs/rust.md, clippy and the format where they are there, and the examples."""
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))
import tiny  # noqa: E402

crates = tiny.root / "bindings/rust"


def run(*command, environment=None):
    subprocess.run([str(c) for c in command], check=True, cwd=crates, env=environment)


def has(command):
    return subprocess.run(["cargo", command, "--version"], capture_output=True, cwd=crates).returncode == 0


def main(build, bundled=None):
    target = Path(build).resolve() / "rust"
    prefix = target / "prefix"
    subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
    libraries = next(prefix.rglob("alia.pc")).parent
    tiny.write(target / "model")
    environment = os.environ | {"CARGO_TARGET_DIR": str(target), "MODEL": str(target / "model")}
    if not bundled:
        environment |= {"PKG_CONFIG_PATH": str(libraries), "LD_LIBRARY_PATH": str(libraries.parent)}
    features = ["--features", "alia/bundled"] if bundled else []
    run("cargo", "test", "--offline", "--quiet", *features, environment=environment)
    run("cargo", "build", "--offline", "--quiet", "--examples", *features, environment=environment)
    if has("clippy"):
        run("cargo", "clippy", "--offline", "--quiet", "--all-targets", *features, "--", "-D", "warnings", environment=environment)
    if has("fmt"):
        run("cargo", "fmt", "--all", "--check")
    examples = environment | {"ALIA_RUST_EXAMPLES": str(target / "debug/examples")}
    run("/usr/bin/python3", tiny.root / "tests/binding_examples.py", "rust", environment=examples)


main(*sys.argv[1:])
