#!/usr/bin/env python3
"""stream.py MODEL QUESTION: the answer as it comes. Ctrl-C ends it."""
import sys

import alia

if len(sys.argv) != 3:
    sys.exit(__doc__)
with alia.Model(sys.argv[1]) as model, alia.Engine(model) as engine:
    answer = engine.ask_stream(sys.argv[2], max_tokens=200)
    try:
        for piece in answer:
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pass
    print(f"\n{len(answer.completion.tokens)} tokens", file=sys.stderr)
