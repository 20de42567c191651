#!/usr/bin/env python3
"""ask.py MODEL QUESTION [SYSTEM]: the answer as a whole; SYSTEM says how to answer."""
import sys

import alia

if len(sys.argv) not in (3, 4):
    sys.exit(__doc__)
path, question, *system = sys.argv[1:]
with alia.Model(path) as model, alia.Engine(model) as engine:
    print(engine.ask(question, system=system[0] if system else None, max_tokens=200))
