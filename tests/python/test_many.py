"""A thread pool and asyncio on one engine at once, with random cancels; and what a token costs. ALIA_TEST_SEED repeats a run,
ALIA_PYTHON_REQUESTS sets its length."""
import asyncio
import ctypes
import os
import random
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from fixtures import WithModel, alia
from alia import _c


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

    def test_cost_of_a_token(self):
        """Streaming takes under 20 µs a token more than the same steps from C, in the best of several tries."""
        tokens, ids = 100, [5, 6, 7, 8]
        model = alia.Model(self.folder, threads=1)
        engine, options = alia.Engine(model, context=256), _c.RequestOptions(max_tokens=tokens, flags=_c.REQUEST_IGNORE_EOS)
        handle, number, count, events = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_uint32(), (_c.Event * 4)()
        for event in events:
            event.size = ctypes.sizeof(_c.Event)
        _c.lib.alia_engine_open(model._handle, _c.EngineOptions(context=256), handle)
        given = (ctypes.c_int32 * len(ids))(*ids)

        def pulled():
            start, ended = time.perf_counter(), False
            _c.lib.alia_engine_submit(handle, given, len(ids), options, number)
            while not ended:
                _c.lib.alia_engine_step(handle, events, 4, count)
                ended = count.value and events[count.value - 1].kind == _c.EVENT_FINISHED
            return time.perf_counter() - start

        def streamed():
            start = time.perf_counter()
            list(engine.stream(ids, max_tokens=tokens, ignore_eos=True))
            return time.perf_counter() - start

        for _ in range(20):
            cost = (min(streamed() for _ in range(10)) - min(pulled() for _ in range(10))) / tokens
            if cost < 20e-6:
                break
        _c.lib.alia_engine_free(handle)
        engine.close()
        self.assertLess(cost, 20e-6)


if __name__ == "__main__":
    unittest.main()
