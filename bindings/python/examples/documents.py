#!/usr/bin/env python3
"""documents.py MODEL QUESTIONS DOCUMENT ...: asks every line of a file about every document. A document is processed once: prompts
that begin alike share its pages."""
import sys
from pathlib import Path

import alia

if len(sys.argv) < 4:
    sys.exit(__doc__)
path, questions_file, *documents = sys.argv[1:]
questions = Path(questions_file).read_text().splitlines()
with alia.Model(path) as model, alia.Engine(model, positions=16 * 1024) as engine:
    for name in documents:
        text = Path(name).read_text()
        engine.ask("", system=text, max_tokens=0)  # leaves its pages in the cache
        answers = [engine.ask_stream(question, system=text, max_tokens=100) for question in questions]
        for question, answer in zip(questions, answers):
            print(f"{name}: {question}\n    {''.join(answer)}")
        shared, total = (sum(getattr(a.completion, n) for a in answers) for n in ("cached_tokens", "prompt_tokens"))
        print(f"{name}: {shared} of {total} tokens shared", file=sys.stderr)
