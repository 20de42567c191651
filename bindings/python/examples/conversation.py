#!/usr/bin/env python3
"""conversation.py MODEL FILE QUESTION: goes on with the conversation that the file holds, or begins one, and saves it there. What
was said before is not processed again."""
import os
import sys

import alia

if len(sys.argv) != 4:
    sys.exit(__doc__)
path, file, question = sys.argv[1:]
with alia.Model(path) as model, alia.Engine(model) as engine:
    with engine.restore(file) if os.path.exists(file) else engine.sequence() as conversation:
        print(conversation.ask(question, max_tokens=200))
        conversation.save(file)
