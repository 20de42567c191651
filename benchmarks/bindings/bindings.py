#!/usr/bin/env python3
"""What the bindings add to C for each token of a request.

    benchmarks/bindings/bindings.py BUILD MODEL [--tokens N] [--rounds N] [--out runs.jsonl]

The same loop in C, Python and Rust over the library of BUILD, in turn, in an order that changes; the model should be tiny, since its
cost is taken away. A round's figure is the difference to C's loop of the same round; the median over the rounds counts."""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

here = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", help="a file to which results are added, as JSON lines")
    o = parser.parse_args()
    build = Path(o.build).resolve()
    target, prefix = build / "rust-bench", build / "rust-bench/prefix"
    subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
    libraries = next(prefix.rglob("alia.pc")).parent
    environment = os.environ | {
        "ALIA_LIBRARY": str(build / "capi/libalia.so"), "PYTHONPATH": str(here.parents[1] / "bindings/python"),
        "PKG_CONFIG_PATH": str(libraries), "LD_LIBRARY_PATH": str(libraries.parent), "CARGO_TARGET_DIR": str(target),
    }
    subprocess.run(["cargo", "build", "--release", "--offline", "--quiet"], check=True, cwd=here, env=environment)
    loops = {"c": [build / "benchmarks/alia_bench_loop"], "python": [sys.executable, here / "loop.py"], "rust": [target / "release/loop"]}
    seen = {name: [] for name in loops}
    for number in range(o.rounds):
        for name in sorted(loops, reverse=number % 2 == 1):
            run = subprocess.run([*loops[name], o.model, str(o.tokens)], check=True, capture_output=True, text=True, env=environment)
            seen[name].append(float(run.stdout))
    over = {name: statistics.median(x - c for x, c in zip(seen[name], seen["c"])) for name in ("python", "rust")}
    result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "measure": "bindings",
              "tokens": o.tokens, "rounds": o.rounds, "c_microseconds": round(statistics.median(seen["c"]), 2),
              "over_c_microseconds": {name: round(value, 2) for name, value in over.items()}}
    print(json.dumps(result))
    if o.out:
        with open(o.out, "a") as f:
            f.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
