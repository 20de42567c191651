#!/usr/bin/env python3
"""conversation.py MODEL FILE QUESTION: goes on with the conversation that FILE and FILE.json hold, or begins one, and saves it
there. What was said before is not processed again."""
import json
import os
import sys

import alia

if len(sys.argv) != 4:
    sys.exit(__doc__)
path, file, question = sys.argv[1:]
with alia.Model(path) as model, alia.Engine(model) as engine:
    conversation = engine.sequence()
    if os.path.exists(file):
        with open(f"{file}.json") as said:
            conversation = engine.restore(file, json.load(said))
    print(conversation.ask(question, max_tokens=200))
    conversation.save(file)
    with open(f"{file}.json", "w") as said:
        json.dump(conversation.messages, said)
