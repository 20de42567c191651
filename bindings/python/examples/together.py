#!/usr/bin/env python3
"""together.py MODEL QUESTION ...: asks all questions at once from asyncio."""
import asyncio
import sys

import alia

if len(sys.argv) < 3:
    sys.exit(__doc__)


async def main(path: str, questions: list[str]) -> None:
    with alia.Model(path) as model, alia.Engine(model) as engine:
        for answer in await asyncio.gather(*(engine.aask(question, max_tokens=100) for question in questions)):
            print(answer)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
