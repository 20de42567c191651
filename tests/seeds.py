#!/usr/bin/env python3
"""seeds.py [--seeds N] [--first N] [--seconds S] [--jobs N] TEST...: runs tests on the emulated device under random orders of
threads, one seed after the other and each test once a seed, until N seeds or S seconds are over. A TEST is a program, perhaps with
the cases to run, as one word: 'test_cuda_products [drawn]'. A seed that fails ends it, and is printed with what to run again."""
import argparse
import concurrent.futures
import os
import shlex
import subprocess
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seeds", type=int, default=1000)
parser.add_argument("--first", type=int, default=1)
parser.add_argument("--seconds", type=float, default=float("inf"))
parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time (default %(default)s)")
parser.add_argument("tests", nargs="+", metavar="TEST")
o = parser.parse_args()
begun, runs = time.monotonic(), dict.fromkeys(o.tests, 0)


def order(seed):
    return {"ALIA_DEVICE": "cuda:0", "ALIA_EMULATED": "random", "ALIA_TEST_SEED": str(seed)}


def run(seed, test):
    if time.monotonic() - begun <= o.seconds:
        return subprocess.run(shlex.split(test), capture_output=True, text=True, env=os.environ | order(seed))


seeds = [seed for seed in range(o.first, o.first + o.seeds) for _ in o.tests]
tests = o.tests * o.seeds
with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
    for seed, test, done in zip(seeds, tests, pool.map(run, seeds, tests)):
        if done is None:
            continue
        if done.returncode:
            pool.shutdown(wait=False, cancel_futures=True)
            print(done.stdout[-4000:] + done.stderr[-2000:])
            sys.exit("again: " + " ".join(f"{name}={value}" for name, value in order(seed).items()) + f" {test}")
        runs[test] += 1
for test, n in runs.items():
    print(f"{os.path.basename(test)}: {n} seeds from {o.first}")
print(f"{sum(runs.values())} runs in {time.monotonic() - begun:.0f} s, none failed")
sys.exit(min(runs.values()) == 0)
