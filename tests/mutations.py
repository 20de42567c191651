#!/usr/bin/env python3
"""mutations.py TEST...: takes every barrier and every wait for copies out of the CUDA kernels, one at a time, and demands that
some test on the emulated device then fails. A test that meets the place is run with warps ahead, then reversed, then in random
order, but for its cases that are [slow]. What nothing notices is needless, or stands in `needed` with the reason."""
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

root = Path(__file__).resolve().parent.parent

# Why a barrier that no test misses must stay, by the comment on its line.
needed = {"partial maxima read above, overwritten by the next call":
          "a caller may use the same memory again at once; those of today have another barrier between"}
seed = int(os.environ.get("ALIA_TEST_SEED", "1"))  # of the order in which places are tried
budget = float(os.environ.get("ALIA_MUTATION_SECONDS", "150"))


def run(test, **environment):
    done = subprocess.run([test, "--abort", "~[slow]"], capture_output=True, text=True,
                          env=os.environ | {"ALIA_DEVICE": "cuda:0"} | environment, timeout=600)
    return done.returncode, done.stdout


def comment(site):
    path, line = site.rsplit(":", 1)
    source = root / path[path.rindex("kernels/"):]  # the compiler may name it from where it ran
    return source.read_text().splitlines()[int(line) - 1].partition("//")[2].strip()


def main(tests):
    met, seconds = {}, {}
    for test in tests:
        start = time.monotonic()
        status, output = run(test, ALIA_SITES="1")
        if status:
            sys.exit(f"{test} fails as it is:\n{output[-2000:]}")
        seconds[test] = time.monotonic() - start
        for site in re.findall(r"^site (.*:\d+)$", output, re.M):
            met.setdefault(site, []).append(test)
    noticed, survivors, untried, begun = 0, [], [], time.monotonic()
    for site in random.Random(seed).sample(sorted(met), len(met)):
        if time.monotonic() - begun > budget:
            untried.append(site)
            continue
        orders = ({"ALIA_EMULATED": order, "ALIA_WITHOUT": site} for order in ("ahead", "reversed", "random"))
        if any(run(test, **o)[0] for o in orders for test in sorted(met[site], key=seconds.get)):
            noticed += 1
        elif comment(site) not in needed:
            survivors.append(site)
    for site in survivors:
        print(f"{site}: nothing notices that it is gone")
    for site in untried:
        print(f"{site}: not tried within {budget:.0f} s")
    print(f"seed {seed}: {len(met)} barriers and waits, {noticed} noticed, {len(survivors)} survived, {len(untried)} not tried")
    return bool(survivors) or noticed == 0


sys.exit(main(sys.argv[1:]))
