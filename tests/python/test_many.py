"""A thread pool and asyncio on one engine at once, with random cancels. ALIA_TEST_SEED repeats a run, ALIA_PYTHON_REQUESTS
sets its length."""
import asyncio
import os
import random
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from fixtures import WithModel, alia


class TestMany(WithModel):
    def test_threads_and_asyncio_at_once(self):
        count = int(os.environ.get("ALIA_PYTHON_REQUESTS", 1000))
        random.seed(seed := int(os.environ.get("ALIA_TEST_SEED", random.randrange(1 << 30))))
        engine, alone = self.engine(context=128, positions=1024), self.engine(context=128, sequences=1)
        kinds = [("".join(random.choices("abcd ", k=random.randint(1, 20))),
                  {"max_tokens": random.randint(1, 12), "ignore_eos": True, "temperature": random.choice((0, 0.9)), "seed": i})
                 for i in range(40)]
        wanted = [alone.complete(prompt, **options)[0] for prompt, options in kinds]
        jobs = [(random.randrange(len(kinds)), random.choice((None, None, None, 0, 1, 2, 3))) for _ in range(count)]

        def check(kind, cut, text, completion):
            if cut is None:
                self.assertEqual(completion, wanted[kind])
            self.assertTrue(wanted[kind].text.startswith(text))
            self.assertEqual(completion.tokens, wanted[kind].tokens[: len(completion.tokens)])

        def in_thread(kind, cut):
            prompt, options = kinds[kind]
            text = ""
            with engine.stream(prompt, **options) as stream:
                for taken, piece in enumerate(stream):
                    text += piece
                    if taken == cut:
                        break
            check(kind, cut, text, cached(stream.completion, kind))

        async def in_loop(kind, cut):
            prompt, options = kinds[kind]
            text = ""
            async with engine.astream(prompt, **options) as stream:
                taken = 0
                async for piece in stream:
                    text += piece
                    if taken == cut:
                        break
                    taken += 1
            check(kind, cut, text, cached(stream.completion, kind))

        def cached(completion, kind):  # how much of a prompt was cached depends on what ran before
            completion.cached_tokens = wanted[kind].cached_tokens
            return completion

        async def loop(jobs):
            async def cancelled(kind, cut):
                task = asyncio.create_task(in_loop(kind, cut))
                if random.random() < 0.1:
                    await asyncio.sleep(random.random() * 0.01)
                    task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass

            await asyncio.gather(*(cancelled(*job) for job in jobs))

        with self.subTest(seed=seed), ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(in_thread, *job) for job in jobs[::2]]
            asyncio.run(loop(jobs[1::2]))
            for future in futures:
                future.result()
            end = time.monotonic() + 10
            while engine.counters["running"] or engine._dispatcher.requests:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)


if __name__ == "__main__":
    unittest.main()
