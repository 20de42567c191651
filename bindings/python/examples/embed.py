#!/usr/bin/env python3
"""embed.py MODEL QUERY TEXT ...: the texts, from the nearest to the query on."""
import sys

import alia

if len(sys.argv) < 4:
    sys.exit(__doc__)
path, query, *texts = sys.argv[1:]
with alia.Model(path) as model, alia.Engine(model) as engine:
    wanted, *vectors = engine.embed([query, *texts])
    for likeness, text in sorted(((float(wanted @ vector), text) for vector, text in zip(vectors, texts)), reverse=True):
        print(f"{likeness:.3f} {text}")
