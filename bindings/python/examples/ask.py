#!/usr/bin/env python3
"""ask.py MODEL QUESTION: the answer as a whole."""
import sys

import alia

if len(sys.argv) != 3:
    sys.exit(__doc__)
with alia.Model(sys.argv[1]) as model, alia.Engine(model) as engine:
    print(engine.ask(sys.argv[2], max_tokens=200))
