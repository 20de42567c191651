#!/usr/bin/env python3
"""The command line's answers, batches and conversations: cli_answers.py ALIA MODELS [CHAT] (cli_program.py says what these are)."""
import fcntl
import json
import os
import pty
import resource
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import unittest

from cli_program import ALIA, CHAT, END, MODELS, START, WithProgram, main
from tiny_chat import letters


class Answers(WithProgram):
    def endless(self):
        """A copy of the model that never ends a greedy answer: the logits of its end tokens are 0."""
        folder = self.folder / "endless"
        if not folder.exists():
            shutil.copytree(self.model, folder)
            weights = bytearray((folder / "model.safetensors").read_bytes())
            header = struct.unpack("<Q", weights[:8])[0]
            head = json.loads(weights[8:8 + header])["lm_head.weight"]
            start, row = 8 + header + head["data_offsets"][0], 4 * head["shape"][1]
            for token in (END, 2):
                weights[start + token * row:start + (token + 1) * row] = bytes(row)
            (folder / "model.safetensors").write_bytes(weights)
        return folder

    # ---- Generation

    def test_run_in_chatml(self):
        turn = letters("user\n") + letters("hola<|im_end|>") + [END] + letters("\n")
        expected = [1, START] + turn + [START] + letters("assistant\n")
        answer = self.run_json(self.model, "hola<|im_end|>", "-n", "1")
        self.assertEqual(answer["prompt_tokens"], len(expected))
        system = self.run_json(self.model, "hola<|im_end|>", "--system", "", "-n", "1")
        self.assertEqual(system["prompt_tokens"], len(expected) + len([START] + letters("system\n") + [END] + letters("\n")))
        raw = self.run_json(self.model, "hola", "--raw", "-n", "1")
        self.assertEqual(raw["prompt_tokens"], len([1] + letters(" hola")))
        piped = self.run_json(self.model, "--raw", "-n", "1", stdin="hola\n")
        self.assertEqual(piped["prompt_tokens"], raw["prompt_tokens"])

    def test_run_gives_the_same_text_each_way(self):
        options = ["hola", "-n", "40", "--temp", "0", "--raw"]
        answer = self.run_json(self.model, *options)
        self.assertEqual(len(answer["ids"]), answer["generated_tokens"])
        self.assertIn(answer["finish"], ("length", "stop"))
        self.assertGreater(answer["peak_memory_bytes"], 0)
        self.assertEqual(self.alia("run", self.model, *options).removesuffix("\n"), answer["text"])
        self.assertRegex(self.error, r"\Aload [\d.]+ s; prompt \d+ tokens, [\d.]+ tokens/s; generated \d+ tokens, [\d.]+ tokens/s; "
                                     r"peak memory [\d.]+ [KMG]iB.*\n\Z")
        for more in (["--threads", "1"], ["--kv", "f32"], ["--top-k", "3"], ["--seed", "9"]):
            self.assertEqual(self.run_json(self.model, *options, *more)["ids"], answer["ids"])

    def test_run_samples_by_seed(self):
        def ids(seed):
            return self.run_json(self.model, "hola", "-n", "20", "--temp", "5", "--top-p", "1", "--seed", seed)["ids"]
        self.assertEqual(ids(1), ids(1))
        self.assertGreater(len({tuple(ids(seed)) for seed in range(4)}), 1)

    def test_run_stops(self):
        answer = self.run_json(self.model, "hola", "--temp", "0", "--raw", "--ctx", "128")
        self.assertIn(answer["finish"], ("context", "stop"))
        self.assertLessEqual(answer["prompt_tokens"] + answer["generated_tokens"], 129)
        self.assertEqual(self.run_json(self.model, "hola", "-n", "3", "--temp", "0", "--raw")["generated_tokens"], 3)

    def test_chat_stops_at_the_end_of_the_turn(self):
        answers = [self.run_json(self.model, "hola", "-n", "300", "--temp", "5", "--top-p", "1", "--seed", seed) for seed in range(8)]
        for answer in answers:
            self.assertNotIn(END, answer["ids"][:-1])
            self.assertEqual(answer["finish"] == "stop", answer["ids"][-1] in (END, 2))
        self.assertIn(END, [answer["ids"][-1] for answer in answers])

    def test_run_needs_a_tokenizer(self):
        self.alia("run", MODELS / "alia.gguf", "hola", code=1)
        self.assertIn("tokenizer", self.error)
        bare = self.folder / "bare"
        bare.mkdir()
        shutil.copy(self.tokenizer, bare)
        self.alia("run", bare, "hola", code=1)

    def test_interrupt(self):
        command = [ALIA, "run", self.endless(), "hola", "--raw", "--temp", "0", "--ctx", "100000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.read(1)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertRegex(error.decode(), r"load .* generated \d+ tokens.* ended by cancelled")

    @unittest.skipUnless(CHAT, "no chat model given")
    def test_chat_model(self):
        question = ["What is the capital of Spain?", "--system", "Answer in one sentence.", "--temp", "0", "-n", "40"]
        answer = self.run_json(CHAT, *question)
        self.assertIn("Madrid", answer["text"])
        self.assertEqual(answer["finish"], "stop")
        self.assertEqual(self.alia("run", CHAT, *question).strip(), answer["text"].strip())

    # ---- Batches

    def templated(self):
        """A copy of the model with another chat template."""
        folder = self.folder / "templated"
        if not folder.exists():
            shutil.copytree(self.model, folder)
            (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }} {{ m.content }}{% endfor %}")
        return folder

    def batch(self, lines, *options, code=0, name="results.jsonl", model=None):
        """The results by line."""
        path = self.folder / "batch.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        self.alia("batch", model or self.model, path, "--out", self.folder / name, *options, code=code)
        results = [json.loads(line) for line in (self.folder / name).read_text().splitlines()]
        self.assertEqual(len({r["line"] for r in results}), len(results))
        return {r.pop("line"): r for r in results}

    def fresh(self, name="results.jsonl"):
        (self.folder / name).unlink(missing_ok=True)

    def test_batch_answers_as_run_does(self):
        self.fresh()
        sampled = {"temperature": 5, "top_p": 1, "seed": 7, "max_tokens": 15}
        lines = [{"id": f"n{i}", "prompt": "hola " * (i % 5), "max_tokens": 3 + i, "temperature": 0} for i in range(40)]
        lines += ["", {"prompt": "hola", "id": 3.5, **sampled}, {"messages": [{"role": "user", "content": "hola"}], **sampled, "metadata": [1]}]
        results = self.batch(lines)
        self.assertRegex(self.error, r"\A42 of 42 lines done, 42 of them now; \d+ tokens generated, [\d.]+ tokens/s\n\Z")
        self.assertEqual([results[i + 1]["id"] for i in range(40)], [f"n{i}" for i in range(40)])
        self.assertEqual(sorted(results), [*range(1, 41), 42, 43])
        self.assertEqual((results[42]["id"], results[43]["id"]), (3.5, None))
        self.assertEqual(results[42]["text"], results[43]["text"])
        run = self.run_json(self.model, "hola", "-n", 15, "--temp", 5, "--top-p", 1, "--seed", 7)
        for key in ("text", "finish", "prompt_tokens", "generated_tokens"):
            self.assertEqual(results[42][key], run[key])
        run = self.run_json(self.model, "hola " * 3, "-n", 41, "--temp", 0)
        self.assertEqual(results[39]["text"], run["text"])
        self.fresh()
        self.assertEqual(self.batch([{"prompt": "hola"}], "--raw", "-n", 9)[1]["text"], self.run_json(self.model, "hola", "--raw", "-n", 9)["text"])
        self.fresh()
        self.assertEqual(self.batch([{"prompt": "hola"}], "--system", "s", "-n", 9)[1]["text"],
                         self.run_json(self.model, "hola", "--system", "s", "-n", 9)["text"])

    def test_bad_lines_fail_alone(self):
        self.fresh()
        good = {"prompt": "hola", "max_tokens": 4}
        bad = ['{"prompt": "a"', "[]", "12", "{}", '{"prompt": 1}', '{"prompt": "a"} {}', '{"id": [1], "prompt": "a"}', '{"id": 1x, "prompt": "a"}',
               '{"id": "x", "prompt": "a", "messages": [{"role": "user", "content": "b"}]}', '{"messages": {}}', '{"messages": [{"content": "a"}]}',
               '{"messages": [{"role": "user", "content": "a"}', '{"prompt": "a", "top_k": "1"}', '{"prompt": "a", "top_k": 1.5}', '{"prompt": "a", "temprature": 1}',
               '{"prompt": "a", "temperature": -3}', '{"prompt": "a", "stop": [1]}', '{"prompt": "a", "stop": ""}', '{"prompt": "a", "flags": 64}',
               json.dumps({"id": "long", "prompt": "too long" * 100}), '{"prompt": "a", "seed": 1e400}', '{"prompt": "\\ud800"}']
        results = self.batch([good, *bad, good], "--ctx", 128, code=1)
        self.assertEqual(sorted(results), list(range(1, len(bad) + 3)))
        for i, line in enumerate(bad, 2):
            self.assertEqual(sorted(results[i]), ["error", "id", "input", "model", "options", "status"], line)
        self.assertEqual(results[1]["text"], results[len(bad) + 2]["text"])
        self.assertEqual((results[2 + bad.index('{"prompt": "a", "temprature": 1}')]["error"]), '"temprature" is no field of a request')
        self.assertEqual([(r["id"], r["status"]) for r in results.values() if r.get("id") == "long"], [("long", "context_full")])
        self.assertIn(f"alia: failed: {len(bad)};", self.error)
        again = self.batch([good, *bad, good], "--ctx", 128, code=1)
        self.assertEqual(again, results)
        self.assertIn(", 0 of them now", self.error)

    def test_batch_goes_on(self):
        lines = [{"id": i, "prompt": "hola " * (i % 3), "max_tokens": 8, "temperature": 0} for i in range(30)]
        self.fresh()
        whole = self.batch(lines)
        path = self.folder / "results.jsonl"
        full = path.read_bytes()
        ends = [i + 1 for i, byte in enumerate(full) if byte == 10]
        for cut in (0, 1, ends[0] - 1, ends[0], ends[10] + 5, ends[28], len(full) - 1, len(full)):
            path.write_bytes(full[:cut])
            self.assertEqual(self.batch(lines), whole)
            self.assertTrue(path.read_bytes().startswith(full[:max([0, *(e for e in ends if e <= cut)])]))
            kept = sum(e <= cut for e in ends)
            self.assertIn(f"30 of 30 lines done, {30 - kept} of them now", self.error)
        # Lines may be added behind; what has results must be as it was.
        more = self.batch([*lines, {"prompt": "mar", "max_tokens": 2}])
        self.assertEqual({k: v for k, v in more.items() if k <= 30}, whole)
        def refused(wanted, changed, *options, model=None):
            for start in (full, full[:ends[10]]):  # also where nothing is left to do
                path.write_bytes(start)
                self.batch(changed, *options, code=1, model=model)
                self.assertRegex(self.error, rf"\Aalia: .*results\.jsonl: its result of line \d+ is {wanted}")
                self.assertEqual(path.read_bytes(), start)
        for changed in ([{**lines[0], "id": 99}, *lines[1:]], lines[1:], []):
            refused("not of that line", changed)
        for options in (["--seed", "1"], ["--system", "x"], ["--raw"], ["--ctx", "128"], ["-n", "5"]):
            refused(r"of other options \(-n, ", lines, *options)
        refused("of another model, --kv", lines, "--kv", "f32")
        for change in (self.endless, self.templated):
            refused("of another model, ", lines, model=change())
        moved = self.folder / "moved"
        shutil.copytree(self.model, moved)
        path.write_bytes(full[:ends[10]])
        self.assertEqual(self.batch(lines, model=moved), whole)
        for content in (b"{}\n", b"no\n", b'{"line": "1", "input": ""}\n', full + b"x\n", b"\0" * 9 + b"\n"):
            path.write_bytes(content)
            self.alia("batch", self.model, self.folder / "batch.jsonl", "--out", path, code=1)
            self.assertRegex(self.error, r"results\.jsonl, line \d+: ")
            self.assertEqual(path.read_bytes(), content)
        self.alia("batch", self.model, self.folder / "none.jsonl", "--out", path, code=1)
        self.assertIn("none.jsonl", self.error)
        self.alia("batch", self.model, self.folder / "batch.jsonl", "--out", self.folder, code=1)
        self.fresh()

    def test_batch_survives_signals(self):
        lines = [{"id": i, "prompt": "hola", "max_tokens": 60, "temperature": 5, "top_p": 1, "seed": i, "min_tokens": 60} for i in range(300)]
        self.fresh()
        source, path = self.folder / "signals.jsonl", self.folder / "results.jsonl"
        source.write_text("".join(json.dumps(line) + "\n" for line in lines))
        command = [ALIA, "batch", self.model, source, "--out", path, "--parallel", "2", "--threads", "1"]
        for kind, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGINT, 130)):
            before = path.stat().st_size if path.exists() else 0
            with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
                while not path.exists() or path.stat().st_size <= before + 500:
                    self.assertIsNone(process.poll(), "it ended too early")
                process.send_signal(signal.SIGSTOP)  # or it might end meanwhile
                locked = subprocess.run(command, capture_output=True)
                process.send_signal(kind)
                process.send_signal(signal.SIGCONT)
                error = process.communicate(timeout=60)[1].decode()
            self.assertEqual((locked.returncode, b"another process" in locked.stderr), (1, True))
            self.assertEqual(process.returncode, code)
            if code == 130:
                done = path.read_bytes().count(b"\n")
                self.assertTrue(0 < done < 300)
                self.assertRegex(error, rf"(?s){done} of 300 lines done.*interrupted; lines left: {300 - done}\. The same command goes on with them\n\Z")
        results = self.batch(lines)
        self.assertEqual([results[i + 1]["id"] for i in range(300)], list(range(300)))
        self.fresh("other.jsonl")
        self.assertEqual(self.batch(lines, name="other.jsonl"), results)

    def test_batch_on_a_full_disk(self):
        self.fresh()
        def full_disk():
            resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
        source = self.folder / "batch.jsonl"
        source.write_text('{"prompt": "hola", "max_tokens": 5}\n' * 40)
        command = [ALIA, "batch", self.model, source, "--out", self.folder / "results.jsonl"]
        full = subprocess.run(command, capture_output=True, preexec_fn=full_disk, restore_signals=False)  # SIGXFSZ stays ignored
        self.assertEqual(full.returncode, 1)
        self.assertRegex(full.stderr.decode(), r"\Aalia: .*results\.jsonl: [^\n]+\n\Z")
        self.assertEqual(subprocess.run(command, capture_output=True).returncode, 0)
        self.assertEqual(len((self.folder / "results.jsonl").read_text().splitlines()), 40)
        self.fresh()

    # ---- Conversations

    def chat(self, text, *options, model=None, code=0):
        return [json.loads(line) for line in self.alia("chat", model or self.model, *options, "--json", stdin=text, code=code).splitlines()]

    def test_chat(self):
        options = ["-n", "12", "--temp", "0", "--ctx", "512"]
        first, second = self.chat("hola\nmar\n", *options)
        self.assertEqual((first["kept_tokens"], first["text"]), (0, self.run_json(self.model, "hola", *options)["text"]))
        turn = [1, START] + letters("user\nhola") + [END] + letters("\n") + [START] + letters("assistant\n")
        self.assertEqual(first["read_tokens"], len(turn))
        # The answer's own tokens are kept too, as far as its text encodes to them.
        self.assertGreaterEqual(second["kept_tokens"], len(turn))
        saved = self.folder / "saved.json"
        told = self.chat(f"hola\n/save {saved}\nmar\n/reset\nhola\n/load {saved}\nmar\n", *options)
        self.assertEqual([a["text"] for a in told], [first["text"], second["text"], first["text"], second["text"]])
        self.assertEqual(told[2]["kept_tokens"] + told[2]["read_tokens"], len(turn))
        self.assertLessEqual(told[2]["read_tokens"], 1)
        self.assertEqual(json.loads(saved.read_text()), {"messages": [{"role": "user", "content": "hola"}, {"role": "assistant", "content": first["text"]}]})
        # Answering it whole gives what answering it turn by turn gave.
        messages = json.loads(saved.read_text())["messages"] + [{"role": "user", "content": "mar"}]
        self.fresh()
        whole = self.batch([{"messages": messages, "max_tokens": 12, "temperature": 0}])[1]
        self.assertEqual((whole["text"], whole["prompt_tokens"]), (second["text"], second["kept_tokens"] + second["read_tokens"]))
        self.fresh()
        loaded = self.chat("mar\n", *options, "--load", saved)
        self.assertEqual(loaded[0]["text"], second["text"])
        system = self.chat("hola\n/reset\nhola\n", *options, "--system", "s")
        self.assertEqual(system[0]["text"], self.run_json(self.model, "hola", "--system", "s", *options)["text"])
        self.assertEqual(system[1]["text"], system[0]["text"])
        self.assertEqual(self.alia("chat", self.model, *options, stdin="hola\n"), first["text"] + "\n")
        self.assertEqual(self.alia("chat", self.model, *options, stdin="/quit\nhola\n"), "")

    def test_chat_goes_on_after_errors(self):
        none = self.folder / "none.json"
        text = f"/sing\n/save\n/load {none}\n/save {self.folder}\n{'too long ' * 30}\nhola\n//x\n/help\n"
        first, slash = self.chat(text, "-n", "5", "--temp", "0", "--ctx", "128", code=1)
        self.assertEqual(first["text"], self.chat("hola\n", "-n", "5", "--temp", "0")[0]["text"])
        self.assertEqual(slash["kept_tokens"] + slash["read_tokens"] - (first["kept_tokens"] + first["read_tokens"]),
                         len(first["text"]) + 1 + len(letters("\n")) + 1 + len("user\n/x") + 1 + len(letters("\n")) + 1 + len(letters("assistant\n")))
        self.alia("chat", self.model, "--ctx", "128", stdin=text, code=1)
        for words in ("/sing is no command", "/save needs the name", "none.json", str(self.folder), "/reset begins anew", "/load FILE"):
            self.assertIn(words, self.error)
        none.write_text('{"messages": [{"role": 1}]}')
        self.chat(f"/load {none}\n", code=1)
        self.assertIn("none.json", self.error)
        self.chat("hola\n", model=MODELS / "alia.gguf", code=1)

    def test_chat_on_a_terminal(self):
        home = self.folder / "home"
        environment = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": "", "TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
        command = [ALIA, "chat", self.endless(), "--temp", "0", "--ctx", "100000", "--threads", "1"]

        class Talk:
            def __init__(talk):
                talk.ours, theirs = pty.openpty()
                talk.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
                                                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
                os.close(theirs)
                talk.shown = ""

            def until(talk, words, seconds=60):
                """What shows until `words` do, which are taken off."""
                end = time.monotonic() + seconds
                while words not in talk.shown:
                    if not select.select([talk.ours], [], [], max(0, end - time.monotonic()))[0]:
                        raise AssertionError(f"{words!r} is not in {talk.shown!r}")
                    talk.shown += os.read(talk.ours, 65536).decode(errors="replace")
                before, talk.shown = talk.shown.split(words, 1)
                return before

            def type(talk, text):
                os.write(talk.ours, text.encode())

            def prompt(talk):
                """Waits for the prompt, and for the editor to have the terminal to itself: until then the system echoes."""
                talk.until("> ")
                end = time.monotonic() + 60
                while termios.tcgetattr(talk.ours)[3] & termios.ICANON:
                    self.assertLess(time.monotonic(), end)
                    time.sleep(0.01)

        talk = Talk()
        try:
            talk.until("Ctrl-D leaves")
            talk.prompt()
            talk.type("holaXY\x7f\x7f, \u00e1\n")  # with two letters taken back
            talk.until("\u00e1\r\n")
            self.assertTrue(select.select([talk.ours], [], [], 60)[0])  # the answer comes
            talk.type("\x03")
            talk.until("ended by cancelled\r\n")
            talk.prompt()
            talk.type("half a line")
            talk.until("half a line")
            talk.type("\x03")
            talk.prompt()
            talk.type("/save " + str(self.folder / "talk.json") + "\n")
            talk.until("2 messages in")
            talk.prompt()
            talk.type("\x04")
            self.assertEqual(talk.process.wait(timeout=60), 0)
            messages = json.loads((self.folder / "talk.json").read_text())["messages"]
            self.assertEqual(messages[0], {"role": "user", "content": "hola, \u00e1"})
            self.assertEqual(messages[1]["role"], "assistant")
            self.assertGreater(len(messages[1]["content"]), 0)
        finally:
            talk.process.kill()
            talk.process.wait()
            os.close(talk.ours)
        talk = Talk()
        try:
            talk.prompt()
            talk.type("\x1b[A\x1b[A")  # two lines up in the history
            talk.until("hola, ")
            talk.type("\x03")
            talk.prompt()
            talk.type("/quit\n")
            self.assertEqual(talk.process.wait(timeout=60), 0)
        finally:
            talk.process.kill()
            talk.process.wait()
            os.close(talk.ours)
        self.assertEqual((home / ".local/state/libalia/chat").stat().st_mode & 0o777, 0o600)

    @unittest.skipUnless(CHAT, "no chat model given")
    def test_conversation_with_a_chat_model(self):
        told = self.chat("What is the capital of Spain?\nAnd of France?\n", "--system", "Answer in one sentence.", "--temp", "0", "-n", "40", model=CHAT)
        self.assertIn("Madrid", told[0]["text"])
        self.assertIn("Paris", told[1]["text"])
        self.assertGreaterEqual(told[1]["kept_tokens"], told[0]["read_tokens"])
        self.assertLess(told[1]["read_tokens"], 20)


if __name__ == "__main__":
    main()
