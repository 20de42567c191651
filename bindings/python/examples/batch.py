#!/usr/bin/env python3
"""batch.py MODEL [FILE]: answers every line of the file, or of standard input, sixteen at a time, in order."""
import fileinput
import sys

import alia

if len(sys.argv) < 2:
    sys.exit(__doc__)
with alia.Model(sys.argv[1]) as model, alia.Engine(model, sequences=16, positions=16 * 1024) as engine:
    questions = [line.strip() for line in fileinput.input(sys.argv[2:])]
    answers = [engine.ask_stream(question, max_tokens=100) for question in questions]  # all of them run from here on
    for question, answer in zip(questions, answers):
        print(f"{question}\n    {''.join(answer)}")
