#!/usr/bin/env python3
"""loop.py MODEL TOKENS: microseconds a token of one request, as pieces of a stream."""
import sys
import time

import alia

path, tokens = sys.argv[1], int(sys.argv[2])
with alia.Model(path, threads=1) as model, alia.Engine(model, sequences=1, context=tokens + 8) as engine:
    def answer():
        start = time.perf_counter()
        text = "".join(engine.stream([5, 6, 7], max_tokens=tokens, ignore_eos=True, temperature=0))
        seconds = time.perf_counter() - start
        assert text
        return seconds

    answer()
    print(f"{1e6 * min(answer() for _ in range(5)) / tokens:.4f}")
