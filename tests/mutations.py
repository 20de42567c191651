#!/usr/bin/env python3
"""mutations.py TEST... [--itself TEST CASE]: takes every barrier and every wait for copies out of the CUDA kernels, one at a time,
and demands that some test on the emulated device then fails. A test that meets the place is run with warps ahead, then reversed,
then in random order, but for its cases that are [slow]. What nothing notices is needless, or stands in `needed` with the reason.
--itself: a test that does all this to the places that this case of it meets. A place that nothing meets is an error."""
import argparse
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


def run(test, cases="~[slow]", **environment):
    done = subprocess.run([test, "--abort", cases], capture_output=True, text=True,
                          env=os.environ | {"ALIA_DEVICE": "cuda:0"} | environment, timeout=600)
    return done.returncode, done.stdout


def places_met(test, *cases):
    status, output = run(test, *cases, ALIA_SITES="1")
    if status:
        sys.exit(f"{test} fails as it is:\n{output[-2000:]}")
    return re.findall(r"^site (.*:\d+)$", output, re.M)


def relative(site):
    return site[site.rindex("kernels/"):]  # the compiler may name it from where it ran


def comments():
    """Of every barrier and wait in the sources, by place."""
    place = re.compile(r"\b(__syncthreads|__syncwarp|cp_async_wait<.*>)\(")
    return {f"{path.relative_to(root)}:{number}": line.partition("//")[2].strip()
            for path in sorted((root / "kernels" / "cuda").glob("*.*"))
            for number, line in enumerate(path.read_text().splitlines(), 1) if place.search(line)}


def main(tests, itself):
    met, seconds, why = {}, {}, comments()
    for test in tests:
        start = time.monotonic()
        for site in places_met(test):
            met.setdefault(site, []).append(test)
        seconds[test] = time.monotonic() - start
    unmet = set(why) - {relative(site) for site in [*met, *(places_met(*itself) if itself else ())]}
    noticed, survivors, untried, begun = 0, [], [], time.monotonic()
    for site in random.Random(seed).sample(sorted(met), len(met)):
        if time.monotonic() - begun > budget:
            untried.append(site)
            continue
        orders = ({"ALIA_EMULATED": order, "ALIA_WITHOUT": site} for order in ("ahead", "reversed", "random"))
        if any(run(test, **o)[0] for o in orders for test in sorted(met[site], key=seconds.get)):
            noticed += 1
        elif why[relative(site)] not in needed:
            survivors.append(site)
    for site in survivors:
        print(f"{site}: nothing notices that it is gone")
    for site in sorted(unmet):
        print(f"{site}: no test meets it")
    for site in untried:
        print(f"{site}: not tried within {budget:.0f} s")
    print(f"seed {seed}: {len(met)} barriers and waits, {noticed} noticed, {len(survivors)} survived, {len(untried)} not tried")
    return bool(survivors or unmet) or noticed == 0


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("tests", nargs="+", metavar="TEST")
parser.add_argument("--itself", nargs=2, metavar=("TEST", "CASE"))
options = parser.parse_args()
sys.exit(main(options.tests, options.itself))
