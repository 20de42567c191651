"""Answers, streams, hooks, numbers, sequences."""
import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import weakref
from unittest import mock

import numpy as np
from fixtures import WithModel, alia, forced, tiny


class TestAnswers(WithModel):
    def test_stream_is_the_whole(self):
        engine = self.engine()
        [whole] = engine.complete("ab", max_tokens=40, ignore_eos=True)
        stream = engine.stream("ab", max_tokens=40, ignore_eos=True)
        pieces = list(stream)
        self.assertEqual("".join(pieces), whole.text)
        self.assertNotIn("", pieces)
        self.assertEqual(stream.completion, whole)
        self.assertEqual((whole.finish, len(whole.tokens), whole.prompt_tokens), ("length", 40, 3))
        self.assertEqual(list(stream), [])

    def test_no_character_is_split(self):
        ids = self.model.encode(tiny.TEXT, add_special=False)
        engine = self.engine()
        options = {"max_tokens": len(ids), "logits_hook": forced(ids), "ignore_eos": True}
        pieces = list(engine.stream("a", **options))
        self.assertEqual("".join(pieces), tiny.TEXT)
        self.assertLess(len(pieces), len(ids))

        async def gather():
            return [piece async for piece in engine.astream("a", **options)]

        self.assertEqual(asyncio.run(gather()), pieces)
        for cut in range(1, len(ids)):  # wherever it ends
            text = "".join(engine.stream("a", **{**options, "max_tokens": cut}))
            self.assertEqual(text, self.model.decode(ids[:cut]))

    def test_options(self):
        engine = self.engine()
        plain = {"max_tokens": 12, "ignore_eos": True}
        three = engine.complete("ab", n=3, temperature=1.0, seed=5, logprobs=2, **plain)
        self.assertEqual(engine.complete("ab", temperature=1.0, seed=6, logprobs=2, **plain)[0].tokens, three[1].tokens)
        self.assertEqual(len(three[0].logprobs), 12)
        self.assertTrue(all(len(top) == 2 and top[0][1] >= top[1][1] for top in three[0].top))
        [best] = engine.complete("ab", temperature=0, **plain)
        self.assertEqual(best.logprobs, [])
        [other] = engine.complete("ab", temperature=0, bias={best.tokens[0]: float("-inf")}, **plain)
        self.assertNotIn(best.tokens[0], other.tokens)
        [cut] = engine.complete("ab", temperature=0, stop=best.tokens[3], **plain)
        self.assertEqual((cut.finish, cut.tokens[:3]), ("stop", best.tokens[:3]))
        letters = self.model.encode("olaxa", add_special=False)
        [stopped] = engine.complete("ab", stop=["x", 3], logits_hook=forced(letters), max_tokens=5)
        self.assertEqual((stopped.text, stopped.finish), ("ola", "stop"))
        self.assertEqual(engine.complete("ab", deadline=0, max_tokens=500, ignore_eos=True)[0].finish, "deadline")
        shifted = self.engine(context=64).complete("ab", max_tokens=100, ignore_eos=True, keep_first=4, keep_last=20)
        self.assertEqual(shifted[0].finish, "length")
        with self.assertRaisesRegex(TypeError, "max_tokens"):
            engine.stream("ab", max_token=1)
        with self.assertRaises(alia.InvalidArgument) as caught:
            engine.stream("ab", temperature=-3.0)
        self.assertIn("temperature", caught.exception.item)
        self.assertRaises(TypeError, engine.stream, "ab", stop=[1.5])
        self.assertRaises(alia.Error, engine.stream, [5] * 600)

    def test_ask(self):
        engine = self.engine()
        asked = []

        def end(logits, tokens):
            asked.append(1)
            return forced([*self.model.encode("ola", add_special=False), 4])(logits, tokens)

        self.assertEqual(engine.ask("what", system="be kind", logits_hook=end), "ola")
        self.assertEqual(len(asked), 4)
        with engine.sequence() as talk:
            self.assertEqual("".join(talk.ask_stream("what", logits_hook=end)), "ola")
            self.assertEqual("".join(talk.ask("what", logits_hook=end)), "ola")
            turn = "<|im_start|>user\nwhat<|im_end|>\n<|im_start|>assistant\nola<|im_end|>"
            self.assertEqual(self.model.decode(talk.tokens, keep_special=True), f"<s>{turn}\n{turn}")
            talk.extend("abc")
            talk.ask("what", max_tokens=1)
            self.assertIn("abc<|im_start|>user", self.model.decode(talk.tokens, keep_special=True))

    def test_batches_run_together(self):
        engine = self.engine()
        streams = [engine.stream([5 + i], max_tokens=30, ignore_eos=True) for i in range(12)]
        texts = ["".join(s) for s in streams]
        self.assertLess(engine.counters["passes"], 12 * 30)
        self.assertEqual(texts, ["".join(engine.stream([5 + i], max_tokens=30, ignore_eos=True)) for i in range(12)])


class TestHooks(WithModel):
    def test_hook(self):
        engine, seen = self.engine(), []
        best = {"max_tokens": 6, "ignore_eos": True, "temperature": 0, "repetition_penalty": 1}
        [plain] = engine.complete("ab", **best)

        def look(logits, tokens):
            self.assertEqual((logits.dtype, logits.shape, logits.flags.writeable, logits.flags.owndata), (np.float32, (96,), False, False))
            seen.append((int(logits.argmax()), list(tokens)))

        self.assertEqual(engine.complete("ab", **best, logits_hook=look)[0].tokens, plain.tokens)
        self.assertEqual(seen, [(t, plain.tokens[:i]) for i, t in enumerate(plain.tokens)])
        same = engine.complete("ab", **best, logits_hook=lambda logits, tokens: logits)
        self.assertEqual(same[0].tokens, plain.tokens)
        two = engine.complete("ab", n=2, max_tokens=3, logits_hook=forced([6, 7, 8]))
        self.assertEqual([c.tokens for c in two], [[6, 7, 8]] * 2)

    def test_hooks_that_fail(self):
        engine, kept = self.engine(), []

        def fail(logits, tokens):
            if len(tokens) == 2:
                raise ZeroDivisionError("mine")

        stream = engine.stream("ab", ignore_eos=True, logits_hook=fail)
        with self.assertRaisesRegex(ZeroDivisionError, "mine"):
            list(stream)
        self.assertEqual(len(stream.completion.tokens), 2)
        with self.assertRaisesRegex(alia.InvalidArgument, "kept the array"):
            engine.complete("ab", logits_hook=lambda logits, _: kept.append(logits[:5]))
        kept.clear()
        with self.assertRaises(alia.InvalidArgument):
            engine.complete("ab", logits_hook=lambda *_: np.zeros(3, np.float32))
        with self.assertRaisesRegex(RuntimeError, "own engine"):
            engine.complete("ab", logits_hook=lambda *_: engine.complete("ab"))
        self.assertEqual(len(engine.complete("ab", max_tokens=2, ignore_eos=True)[0].tokens), 2)

    def test_logits(self):
        with alia.Engine(self.model, context=64, cache="f32", chunk=5, logit_rows=3) as engine:
            ids = [int(i) for i in (tiny.root / "tests/data/models/alia.ids.txt").read_text().split()]
            wanted = np.load(tiny.root / "tests/data/models/alia.logits.npy")
            logits = engine.logits(ids)
            self.assertEqual((logits.dtype, logits.shape), (np.float32, wanted.shape))
            self.assertTrue(np.allclose(logits, wanted, atol=0.05 * np.abs(wanted).max()))
            seen = []

            def visit(position, rows):
                self.assertFalse(rows.flags.owndata or rows.flags.writeable)
                self.assertTrue(np.array_equal(rows, logits[position : position + len(rows)]))
                seen.extend(range(position, position + len(rows)))

            engine.visit_logits(ids, visit)
            self.assertEqual(seen, list(range(len(ids))))
            shifted = np.exp(logits - logits.max(1, keepdims=True))
            probability = shifted / shifted.sum(1, keepdims=True)
            score = engine.score(ids)
            self.assertTrue(np.allclose(score, np.log([probability[i, t] for i, t in enumerate(ids[1:])]), atol=1e-4))
            with self.assertRaises(ZeroDivisionError):
                engine.visit_logits(ids, lambda *_: 1 // 0)

    def test_embeddings(self):
        engine = self.engine()
        one, both = engine.embed("ab"), engine.embed(["ab", "cd"])
        self.assertEqual((one.shape, both.shape), ((128,), (2, 128)))
        self.assertTrue(np.array_equal(one, both[0]) and not np.array_equal(one, both[1]))
        self.assertAlmostEqual(float(np.linalg.norm(one)), 1, places=4)
        self.assertGreater(abs(float(np.linalg.norm(engine.embed("ab", pooling="last", normalise=False))) - 1), 0.01)


class TestEnding(WithModel):
    long = {"max_tokens": 100000, "ignore_eos": True, "keep_first": 4, "keep_last": 20}

    def settled(self, engine):
        end = time.monotonic() + 10
        while engine.counters["running"] or engine.counters["waiting"]:
            self.assertLess(time.monotonic(), end, "still running")
            time.sleep(0.01)

    def test_closing_cancels(self):
        engine = self.engine(context=64)
        stream = engine.stream("ab", **self.long)
        next(stream)
        stream.close()
        self.assertEqual(list(stream), [])
        self.settled(engine)
        with engine.stream("ab", **self.long) as stream:
            next(stream)
        self.settled(engine)
        next(engine.stream("ab", **self.long))  # forgotten
        self.settled(engine)
        for piece in engine.stream("ab", **self.long):
            break
        self.settled(engine)

        async def tasks():
            async def endless():
                async for piece in engine.astream("ab", **self.long):
                    started.set()

            started = asyncio.Event()
            task = asyncio.create_task(endless())
            await started.wait()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            async with engine.astream("ab", **self.long) as stream:
                await anext(stream)
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(engine.acomplete("ab", **self.long), 0.1)

        asyncio.run(tasks())
        self.settled(engine)

    def test_event_loop_that_is_gone(self):
        engine = self.engine(context=64)
        kept = []

        async def leave():
            kept.append(engine.astream("ab", **self.long))
            await anext(kept[0])

        asyncio.run(leave())
        self.settled(engine)

    def test_wakes_of_an_event_loop(self):
        """As many as steps, not as tokens."""
        engine, wakes = self.engine(), []

        async def gather():
            loop = asyncio.get_running_loop()
            call = loop.call_soon_threadsafe

            def counted(callback, *arguments, **options):
                wakes.append(callback.__module__)
                return call(callback, *arguments, **options)

            with mock.patch.object(loop, "call_soon_threadsafe", counted):
                return await asyncio.gather(*(engine.acomplete("ab", max_tokens=40, ignore_eos=True, seed=i) for i in range(16)))

        self.assertEqual([len(answer.tokens) for [answer] in asyncio.run(gather())], [40] * 16)
        self.assertLess(wakes.count("alia._dispatch"), 16 * 40 / 2)

    def test_closing_the_engine(self):
        engine = self.engine(context=64)
        stream = engine.stream("ab", **self.long)
        next(stream)
        threading.Timer(0.05, engine.close).start()
        with self.assertRaises(alia.Error) as caught:
            list(stream)
        self.assertEqual(caught.exception.status, alia.Status.BAD_HANDLE)
        forgotten = alia.Engine(self.model, context=64)
        thread, there = forgotten._dispatcher.thread, weakref.ref(forgotten)
        next(forgotten.stream("ab", **self.long))
        del forgotten
        gc.collect()
        self.assertIsNone(there())
        self.assertFalse(thread.is_alive())

    def test_interrupt(self):
        """Ctrl-C ends what the main thread waits for at once; the process then ends by itself."""
        program = """
import os, signal, sys, threading, time
import alia
engine = alia.Engine(alia.Model(sys.argv[1]), context=64)
def interrupt():
    global sent
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
stream = engine.stream("ab", max_tokens=1 << 40, ignore_eos=True, keep_first=4, keep_last=20)
for way in (lambda: list(stream), lambda: engine.complete("ab", max_tokens=1 << 40, ignore_eos=True, keep_first=4, keep_last=20)):
    try:
        threading.Timer(0.2, interrupt).start()
        way()
    except KeyboardInterrupt:
        print("interrupted", time.monotonic() - sent < 0.5)
while engine.counters["running"]:
    time.sleep(0.01)
engine.stream("ab", max_tokens=1 << 40, ignore_eos=True, keep_first=4, keep_last=20)
left = engine.stream("ab", max_tokens=1 << 40, ignore_eos=True, keep_first=4, keep_last=20)
next(left)
"""
        done = subprocess.run([sys.executable, "-c", program, self.folder], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PYTHONPATH": str(tiny.root / "bindings/python")})
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "interrupted True\ninterrupted True\n", ""))

    def test_fork(self):
        engine = self.engine()
        child = os.fork()
        if child == 0:
            try:
                engine.complete("ab", max_tokens=1)
            except alia.Error as error:
                os._exit(error.status)
            os._exit(0)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), alia.Status.BAD_HANDLE)
        self.assertEqual(len(engine.complete("ab", max_tokens=1, ignore_eos=True)[0].tokens), 1)

    def test_gil_is_released(self):
        """While a call works, other Python threads run."""
        engine, ids = self.engine(chunk=256), [5 + i % 80 for i in range(500)]
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1000)  # no thread has to let others run: it does where it waits, or where a call lets go

        def ask():
            engine.logits(ids)
            done.set()

        for _ in range(100):  # a system with much to do may not let them run in one call
            count, done = 0, threading.Event()
            asking = threading.Thread(target=ask)
            asking.start()
            while not done.is_set():
                count += 1
                time.sleep(0)
            asking.join()
            if count > 50:
                break
        self.assertGreater(count, 50)


class TestSequences(WithModel):
    def test_continue_fork_truncate(self):
        engine = self.engine()
        with engine.sequence() as s:
            self.assertEqual(len(s), 0)
            [first] = s.complete("ab", max_tokens=5, ignore_eos=True)
            self.assertEqual(s.tokens, self.model.encode("ab") + first.tokens)
            copy = s.fork()
            [here] = s.complete("cd", max_tokens=5, ignore_eos=True)
            self.assertEqual(s.tokens[8:], self.model.encode("cd", add_special=False) + here.tokens)
            self.assertEqual(copy.complete("cd", max_tokens=5, ignore_eos=True)[0].tokens, here.tokens)
            copy.truncate(8)
            self.assertEqual(copy.complete("cd", max_tokens=5, ignore_eos=True)[0].tokens, here.tokens)
            copy.truncate(0)
            self.assertEqual(copy.complete("ab", max_tokens=5, ignore_eos=True)[0].tokens, first.tokens)
            self.assertRaises(alia.InvalidArgument, copy.truncate, 1000)
            copy.close()
            with self.assertRaises(alia.NotFound):
                copy.complete("ab")

    def test_save_and_restore(self):
        engine = self.engine()
        s = engine.sequence()
        s.extend("abcdef" * 20)
        with tempfile.NamedTemporaryFile() as file:
            s.save(file.name)
            from_file, from_bytes = engine.restore(file.name), engine.restore(s.saved())
        wanted = s.complete("x", max_tokens=8, ignore_eos=True)[0].tokens
        for copy in (from_file, from_bytes):
            self.assertEqual(copy.complete("x", max_tokens=8, ignore_eos=True)[0].tokens, wanted)
        self.assertRaises(alia.NotFound, engine.restore, "/nonexistent/state")
        self.assertRaises(alia.Error, engine.restore, s.saved()[:-1])

    def test_after_a_cancelled_stream(self):
        engine = self.engine()
        s = engine.sequence()
        options = {"max_tokens": 400, "ignore_eos": True}
        for _ in range(5):
            s.truncate(0)
            next(s.stream("ab", **options))
            self.assertGreater(len(s), 3)
            s.stream("c", **options).close()
            s.complete("c", max_tokens=1)

        async def asynchronously():
            async with s.astream("ab", max_tokens=50, ignore_eos=True) as stream:
                await anext(stream)
            await s.aask("c", max_tokens=1)

        asyncio.run(asynchronously())
        running = s.stream("ab", **options)
        next(running)
        with self.assertRaises(alia.Error) as caught:
            s.stream("ab")
        self.assertEqual(caught.exception.status, alia.Status.BUSY)
        running.close()


if __name__ == "__main__":
    unittest.main()
