#!/usr/bin/env python3
"""The command line, as its users meet it: cli.py ALIA MODELS [CHAT]

ALIA is the program, MODELS the folder tests/data/models. CHAT, where given, is the SmolLM2-135M-Instruct GGUF of the demo.
The tiny models have no tokenizer: tiny_chat.py writes one."""
import ast
import fcntl
import json
import math
import os
import pty
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from pathlib import Path

from tiny_chat import LETTERS, SPECIAL, letters, make, tokenizer_json

ALIA, MODELS = sys.argv[1], Path(sys.argv[2])
CHAT = sys.argv[3] if len(sys.argv) > 3 else None
START, END = SPECIAL.index("<|im_start|>"), SPECIAL.index("<|im_end|>")


def read_npy(path):
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
    end = 10 + struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:end].decode("latin1"))
    assert end % 64 == 0 and not header["fortran_order"], header
    kind = {"<f4": "f", "<f8": "d"}[header["descr"]]
    rows, columns = header["shape"]
    values = struct.unpack(f"<{rows * columns}{kind}", data[end:])
    return header, [values[i * columns:(i + 1) * columns] for i in range(rows)]


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ["LC_ALL"] = "C"
        cls.folder = Path(tempfile.mkdtemp(prefix="alia-cli-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.tokenizer = cls.folder / "tokenizer.json"
        cls.tokenizer.write_text(json.dumps(tokenizer_json()))
        cls.model = cls.folder / "model"
        make(MODELS, cls.model)
        defaults = {"do_sample": True, "temperature": 0.2, "top_p": 0.9, "eos_token_id": 2}  # not <|im_end|>: chat adds it
        (cls.model / "generation_config.json").write_text(json.dumps(defaults))

    def alia(self, *arguments, code=0, stdin="", environment=None):
        """Standard output; the exit code and, after an error, the message's form are checked."""
        done = subprocess.run([ALIA, *map(str, arguments)], input=stdin.encode(), capture_output=True, timeout=300,
                              env={**os.environ, **(environment or {})})
        self.error = done.stderr.decode()
        self.assertEqual(done.returncode, code, self.error)
        if code == 1 and arguments[0] not in ("batch", "chat"):
            self.assertRegex(self.error, r"\Aalia: [^\n]+\n\Z")
        if code == 0 and arguments[0] not in ("run", "batch", "chat"):
            self.assertEqual(self.error, "")
        self.assertNotIn("\033", self.error)
        return done.stdout.decode()

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

    def on_terminal(self, *arguments):
        """What shows on a terminal, both streams, and the exit code."""
        ours, theirs = pty.openpty()
        with subprocess.Popen([ALIA, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            try:
                while piece := os.read(ours, 65536):
                    shown += piece
            except OSError:  # EIO: nobody holds the other side
                pass
            os.close(ours)
        return shown.decode(), process.returncode

    def run_json(self, *arguments, **options):
        return json.loads(self.alia("run", *arguments, "--json", **options))

    # ---- Usage

    def test_help_and_version(self):
        self.assertRegex(self.alia("--version"), r"\Aalia \d+\.\d+\.\d+\n\Z")
        for command in ([], ["run"], ["info"], ["plan"], ["tokenize"], ["logits"], ["bench"], ["perplexity"], ["imatrix"],
                        ["quantize"], ["embed"], ["doctor"], ["batch"], ["chat"]):
            text = self.alia(*command, "--help") if command else self.alia("--help")
            self.assertRegex(text, r"Examples?:\n  alia ")

    def test_spanish(self):
        commands = re.findall(r"(?m)^  (\w+) {2,}", self.alia("--help").split("Subcommands:")[1].split("Exit codes")[0])
        self.assertEqual(len(commands), 13)
        for command in ([], *([c] for c in commands)):
            def told(language):
                return self.alia("--lang", language, *command, "--help").splitlines()
            english, spanish = told("en"), told("es")
            self.assertEqual(spanish[-1], english[-1])  # the last example
            examples = [i for i, line in enumerate(english) if line.startswith("Example")][0]
            for line in english[:examples]:
                if re.search(r"[a-z]{2,} [a-z]{2,}", line):  # more than a name
                    self.assertNotIn(line, spanish)
            self.assertEqual(self.alia(*command, "--help", environment={"LC_ALL": "", "LC_MESSAGES": "es_ES.UTF-8"}).splitlines(), spanish)
            self.assertEqual(self.alia(*command, "--help", "--lang=es"), "\n".join(spanish) + "\n")
        for environment in ({"LC_ALL": "C", "LANG": "es_ES.UTF-8"}, {"LC_ALL": "", "LC_MESSAGES": "", "LANG": "est"}):
            self.assertIn("Usage:", self.alia("--help", environment=environment))
        self.alia("run", self.model, "hola", "-n", "1", environment={"LC_ALL": "es_ES"})
        self.assertIn("memoria máxima", self.error)
        self.alia("chat", self.model, "--lang", "es", stdin="/help\n/cantar\n", code=1)
        self.assertIn("olvida la conversación", self.error)
        self.assertIn("/cantar no es una orden", self.error)
        self.alia("run", "m", "--lang", "fr", code=2)

    def test_wrong_usage(self):
        for arguments in ([], ["sing"], ["run"], ["run", "m", "--temp", "warm"], ["info", "m", "--kv", "f32"], ["plan", "m", "--kv", "f64"],
                          ["logits", "m"], ["bench", "m", "--repeat", "0"], ["run", "m", "p", "--raw", "--system", "s"], ["tokenize", "m", "text", "--jsonl"]):
            self.assertEqual(self.alia(*arguments, code=2), "")
            self.assertNotEqual(self.error, "")

    def test_errors_name_what_is_wrong(self):
        missing = self.folder / "none.gguf"
        for command in (["run", missing, "x"], ["info", missing], ["plan", missing], ["tokenize", missing, "x"]):
            self.alia(*command, code=1)
            self.assertIn("none.gguf", self.error)
        cut = self.folder / "cut.gguf"
        cut.write_bytes((MODELS / "alia.gguf").read_bytes()[:1000])
        self.alia("info", cut, code=1)
        self.assertIn("cut.gguf", self.error)
        self.alia("run", self.model, "x", "--temp", "-3", code=1)
        self.assertIn("temperature", self.error)
        self.alia("run", self.model, "x", "--ctx", "0", code=1)
        self.assertIn("context", self.error)
        self.alia("run", self.model, "too long " * 20, "--ctx", "64", code=1)

    def test_streams_that_fail(self):
        with open("/dev/full", "wb") as full:
            for options in (["run", self.model, "hola", "-n", "2"], ["run", self.model, "hola", "-n", "2", "--json"]):
                done = subprocess.run([ALIA, *options], stdout=full, stderr=subprocess.PIPE, timeout=300)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"standard output", done.stderr)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            done = subprocess.run([ALIA, "tokenize", self.tokenizer, "--jsonl"], stdin=folder, capture_output=True, timeout=300)
        finally:
            os.close(folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard input", done.stderr)

    def test_device(self):
        for option in (["--device", "tpu"], []):
            self.alia("run", self.model, "x", *option, code=1, environment={"ALIA_DEVICE": "tpu"})
            self.assertIn("tpu", self.error)
        self.alia("run", self.model, "x", "-n", "1", "--device", "cpu", environment={"ALIA_DEVICE": "tpu"})
        for device in ("ref", "cpu:base"):
            plan = json.loads(self.alia("plan", self.model, "--json", environment={"ALIA_DEVICE": device}))
            self.assertIn(device.split(":")[-1], plan["device"])

    # ---- What a model is and takes

    def test_info(self):
        for model, tokens, eos in ((self.model, len(LETTERS), [2]), (MODELS / "alia", None, [2, 5])):
            info = json.loads(self.alia("info", model, "--json"))
            self.assertEqual([info[k] for k in ("layers", "hidden", "heads", "kv_heads", "vocabulary", "context", "eos")],
                             [2, 128, 16, 2, 96, 64, eos])
            self.assertEqual((info["sampling"]["temperature"], info["sampling"]["top_p"]), (0.2, 0.9))
            self.assertEqual(info["tokenizer"] and info["tokenizer"]["vocabulary"], tokens)
        gguf = json.loads(self.alia("info", MODELS / "alia.gguf", "--json"))
        self.assertEqual((gguf["layers"], gguf["parameters"]), (info["layers"], info["parameters"]))
        self.assertRegex(self.alia("info", self.model), r"(?m)^hidden +128$")

    def test_info_shows_no_control_characters(self):
        model = self.folder / "loud"
        shutil.copytree(self.model, model)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"_name_or_path": "a\033[31mb"}))
        self.assertIn("a?[31mb\n", self.alia("info", model))
        self.assertEqual(json.loads(self.alia("info", model, "--json"))["name"], "a\033[31mb")

    def test_plan(self):
        small, large = (json.loads(self.alia("plan", self.model, "--ctx", n, "--kv", "f32", "--json")) for n in ("64", "4096"))
        self.assertEqual(small["total"], sum(item["bytes"] for item in small["items"]))
        cache = [next(i["bytes"] for i in p["items"] if i["name"].startswith("KV cache")) for p in (small, large)]
        self.assertEqual(cache[1], 64 * cache[0])
        half = json.loads(self.alia("plan", self.model, "--ctx", "4096", "--kv", "bf16", "--json"))
        self.assertEqual([2 * i["bytes"] for i in half["items"] if i["name"] == "KV cache BF16"],
                         [i["bytes"] for i in large["items"] if i["name"] == "KV cache F32"])
        self.assertRegex(self.alia("plan", self.model), r"(?m)^total +[\d.]+ [KM]iB$")

    def test_doctor(self):
        report = json.loads(self.alia("doctor", "--json", environment={"ALIA_DEVICE": ""}))
        library, processor = report["library"], report["processor"]
        usable = [d["name"] for d in library["devices"] if d["usable"]]
        self.assertIn("cpu:base", usable)
        self.assertEqual(usable[-1], "ref")
        self.assertEqual(library["auto"], usable[0])
        self.assertEqual(report["runs_on"]["device"], usable[0])
        for device in library["devices"]:
            self.assertEqual("reason" in device, not device["usable"])
            name = device["name"]
            if name.startswith("cpu:") and device["usable"]:
                self.assertEqual(json.loads(self.alia("plan", self.model, "--json", "--device", name))["device"], name.replace(":", "_"))
            elif name.startswith("cpu:"):
                self.alia("plan", self.model, "--device", name, code=1)
                self.assertRegex(device["reason"], r"lacks [A-Z0-9_, ]+$")
        self.assertEqual(processor["affinity"], len(os.sched_getaffinity(0)))
        self.assertTrue(1 <= library["threads"] <= processor["affinity"])
        self.assertTrue(0 < report["memory"]["available"] <= report["memory"]["total"])
        if not library["cuda"]["built"]:
            self.assertIn("no CUDA", library["cuda"]["reason"])
        one = os.sched_getaffinity(0).pop()
        pinned = subprocess.run([ALIA, "doctor", "--json"], capture_output=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {one}))
        self.assertEqual(json.loads(pinned.stdout)["library"]["threads"], 1)

    def test_doctor_of_a_model(self):
        report = json.loads(self.alia("doctor", self.model, "--ctx", "128", "--json", environment={"ALIA_DEVICE": "cpu:base"}))
        plans = {p["device"]: p["plan"] for p in report["plans"]}
        self.assertEqual(list(plans), [d["name"] for d in report["library"]["devices"] if d["usable"]])
        self.assertEqual(plans["ref"]["items"], json.loads(self.alia("plan", self.model, "--ctx", "128", "--device", "ref", "--json"))["items"])
        self.assertEqual(report["runs_on"]["device"], "cpu:base")
        self.assertIn("ALIA_DEVICE", report["runs_on"]["reason"])
        table = self.alia("doctor", self.model)
        self.assertRegex(table, r"(?m)^threads +\d+ of \d+ processors")
        self.assertRegex(table, r"(?m)^ +ref: [\d.]+ [KM]iB of [\d.]+ .iB, fits$")
        huge = self.alia("doctor", self.model, "--ctx", "400000000000")
        self.assertRegex(huge, r"(?m)^it runs on .*; it cannot: context: 400000000000 is not between")
        broken = json.loads(self.alia("doctor", self.folder / "none.gguf", "--json"))
        self.assertIn("none.gguf", broken["plans"][0]["error"])

    # ---- Vectors

    def embed(self, *arguments, **options):
        return [json.loads(line) for line in self.alia("embed", self.model, *arguments, **options).splitlines()]

    def test_embed(self):
        texts = ["El mar", "a", "", "x" * 30] * 20  # more than run at once
        lines = self.embed(*texts)
        self.assertEqual([(x["index"], x["text"]) for x in lines], list(enumerate(texts)))
        self.assertEqual([x["tokens"] for x in lines[:4]], [len(letters(" El mar")) + 1, 3, 1, 32])
        self.assertEqual({len(x["embedding"]) for x in lines}, {128})
        for x in lines:
            self.assertEqual(x["embedding"], lines[x["index"] % 4]["embedding"])
        last = self.embed(*texts[:4], "--pooling", "last")
        self.assertEqual(last[2]["embedding"], lines[2]["embedding"])  # of one token
        self.assertNotEqual(last[0]["embedding"], lines[0]["embedding"])
        for long, short in zip(lines, self.embed(*texts[:4], "--normalise")):
            length = math.sqrt(sum(v * v for v in long["embedding"]))
            for a, b in zip(long["embedding"], short["embedding"]):
                self.assertAlmostEqual(a / length, b, delta=1e-6)

    def test_embed_sources(self):
        path = self.folder / "lines.txt"
        path.write_text("hola\r\n\nel mar")
        wanted = self.embed("hola", "", "el mar")
        self.assertEqual(self.embed("--file", path), wanted)
        self.assertEqual(self.embed(stdin="hola\n\nel mar\n"), wanted)
        self.assertEqual(self.embed("hola", "--file", "-", stdin="\nel mar\n"), wanted)
        self.alia("embed", self.model, stdin="", code=1)
        self.alia("embed", self.model, "--file", self.folder / "none.txt", code=1)
        self.assertIn("none.txt", self.error)
        self.alia("embed", self.model, "a", "b" * 100, "--ctx", "64", code=1)
        self.assertIn("text 2: ", self.error)
        self.alia("embed", self.model, "a", "--pooling", "max", code=2)
        output, code = self.on_terminal("embed", self.model, "hola", "a\033[31m" + "b" * 100, "hola")
        self.assertEqual(code, 0)
        self.assertIn("3 texts, 128 dimensions", output)
        self.assertRegex(output, r"\n +6   1\.0000  hola\r\n +\d+ +-?\d\.\d{4}  a\?\[31mb{53}…\r\n +6   1\.0000  hola\r\n")

    # ---- Tokens

    def test_tokenize_a_text(self):
        user, marked = [1] + letters(" hola"), "hola<|im_end|>"
        self.assertEqual(self.alia("tokenize", self.tokenizer, "hola"), " ".join(map(str, user)) + "\n")
        self.assertEqual(self.alia("tokenize", self.folder, stdin="hola").split(), list(map(str, user)))
        self.assertEqual(self.alia("tokenize", self.tokenizer, "hola", "--no-special").split(), list(map(str, user[1:])))
        plain = list(map(int, self.alia("tokenize", self.tokenizer, marked).split()))
        self.assertEqual(plain, [1] + letters(" hola<|im_end|>"))
        parsed = list(map(int, self.alia("tokenize", self.model, marked, "--parse-special").split()))
        self.assertEqual(parsed, user + [END])
        self.assertEqual(self.alia("tokenize", self.tokenizer, "", "--no-special"), "\n")

    def test_tokenize_lines(self):
        texts = ["hola<|im_end|>", "a \"b\\\n", "", "áñ"]
        lines = "".join(json.dumps({"kind": "x", "text": t}) + "\n" for t in texts)
        def ids(*options):
            return [json.loads(line)["ids"] for line in self.alia("tokenize", self.tokenizer, "--jsonl", *options, stdin=lines).splitlines()]
        parsed = ids()
        self.assertEqual(parsed[0], [1] + letters(" hola") + [END])
        self.assertEqual(parsed[1:], [[1] + letters(" " + t if t else t) for t in texts[1:]])
        self.assertEqual(ids("--no-parse-special")[0], [1] + letters(" hola<|im_end|>"))
        self.assertEqual(ids("--no-special")[0], parsed[0][1:])
        back = "".join(json.dumps({"ids": i}) + "\n" for i in parsed)
        decoded = [json.loads(line)["text"] for line in self.alia("tokenize", self.tokenizer, "--decode", "--jsonl", stdin=back).splitlines()]
        self.assertEqual(decoded, ["hola"] + texts[1:])
        kept = self.alia("tokenize", self.tokenizer, "--decode", "--keep-special", "--jsonl", stdin=back).splitlines()[0]
        self.assertIn("<|im_end|>", json.loads(kept)["text"])

    def test_wrong_lines(self):
        good = '{"text": "a"}\n'
        for line in ('{"text": 1}', '{"ids": [1]}', "{", "[]", '"a"', '{"text": "a'):
            self.alia("tokenize", self.tokenizer, "--jsonl", stdin=good + line + "\n", code=1)
            self.assertIn("line 2", self.error)
        for line in ('{"ids": [1000000]}', '{"ids": [-1]}', '{"ids": ["1"]}', '{"ids": [1.5]}', '{"text": "a"}'):
            self.alia("tokenize", self.tokenizer, "--decode", "--jsonl", stdin=line + "\n", code=1)

    # ---- Logits

    def test_logits(self):
        for name in ("alia", "alia.gguf"):
            stem = name.replace(".", "-")
            out = self.folder / "out.npy"
            _, wanted = read_npy(MODELS / f"{stem}.logits.npy")
            self.alia("logits", MODELS / name, "--ids", MODELS / f"{stem}.ids.txt", "--out", out, "--kv", "f32", "--device", "cpu:base")
            header, rows = read_npy(out)
            self.assertEqual((header["descr"], len(rows), len(rows[0])), ("<f4", len(wanted), len(wanted[0])))
            worst = max(abs(a - b) for x, y in zip(rows, wanted) for a, b in zip(x, y))
            self.assertLess(worst, 1e-4 * max(abs(a) for y in wanted for a in y))
            first = out.read_bytes()
            self.alia("logits", MODELS / name, "--ids", MODELS / f"{stem}.ids.txt", "--out", out, "--kv", "f32", "--device", "cpu:base",
                      "--chunk", "3", "--threads", "1")
            self.assertEqual(out.read_bytes(), first)

    def test_logits_leave_no_half_file(self):
        out, ids = self.folder / "none.npy", self.folder / "ids.txt"
        for text in ("", "1 2 x", "1 96", "1 -2", "99999999999999999999"):
            ids.write_text(text)
            self.alia("logits", self.model, "--ids", ids, "--out", out, code=1)
        ids.write_text("1 2\n3\t4\n")
        self.alia("logits", self.model, "--ids", ids, "--out", self.folder / "no" / "folder.npy", code=1)
        def full_disk():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        arguments = [ALIA, "logits", MODELS / "alia", "--ids", MODELS / "alia.ids.txt", "--out", out]
        full = subprocess.run(arguments, capture_output=True, preexec_fn=full_disk, restore_signals=False)  # SIGXFSZ stays ignored
        self.assertEqual((full.returncode, full.stderr[:6]), (1, b"alia: "))
        self.assertEqual([p.name for p in self.folder.glob("none.npy*")], [])
        os.mkfifo(self.folder / "fifo")
        for place in (self.folder, self.folder / "fifo"):
            self.alia("logits", self.model, "--ids", ids, "--out", place, code=1)
            self.assertIn("is a directory or a device", self.error)
            self.alia("imatrix", self.model, *self.texts()[0], "--out", place, code=1)
            self.assertIn("is a directory or a device", self.error)
        self.assertTrue((self.folder / "fifo").is_fifo())
        self.alia("logits", self.model, "--ids", ids, "--out", out)
        self.assertEqual(len(read_npy(out)[1]), 4)

    # ---- Speed

    def test_bench(self):
        info = json.loads(self.alia("info", self.model, "--json"))
        options = ["--prompt", "5,9", "--generate", "3", "--context", "0,20", "--repeat", "2", "--threads", "1"]
        lines = [json.loads(line) for line in self.alia("bench", *options, self.model, "--json").splitlines()]
        self.assertEqual([(x["measure"], x["tokens"], x["context"]) for x in lines],
                         [("prompt 5", 5, 0), ("prompt 9", 9, 0), ("generate 3", 3, 0), ("generate 3 after 20", 3, 20)])
        for x in lines:
            self.assertEqual(len(x["tokens_per_second"]), 2)
            self.assertEqual([x["low"], x["high"]], sorted(x["tokens_per_second"]))
            self.assertAlmostEqual(x["median"], sum(x["tokens_per_second"]) / 2, delta=1e-4 * x["median"])
            self.assertEqual((x["parameters"], x["device"], x["threads"]), (info["parameters"], info["device"], 1))
            self.assertEqual(x["weight_bytes"], sum(w["bytes"] for w in info["weights"]))
            self.assertEqual(x["weight_bytes"] - x["token_bytes"], info["embedding"]["bytes"])
            self.assertGreater(x["roofs"][x["roof"]], 0)
            self.assertTrue(0 < x["load_peak_bytes"] <= x["peak_bytes"])
        table = self.alia("bench", self.model, "--prompt", "5,9", "--generate", "0", "--repeat", "1")
        self.assertRegex(table, r"(?m)^prompt 9 +[\d.]+ +[\d.]+ \.\. [\d.]+ +[\d.]+ of \w+$")
        self.assertNotIn("generate", table)

    def test_damaged_weights(self):
        damaged = self.folder / "damaged"
        shutil.copytree(self.model, damaged)
        data = bytearray((damaged / "model.safetensors").read_bytes())
        end = 8 + struct.unpack("<Q", data[:8])[0]
        norm = json.loads(data[8:end])["model.norm.weight"]["data_offsets"]
        data[end + norm[0]:end + norm[1]] = b"\xff" * (norm[1] - norm[0])  # NaN
        (damaged / "model.safetensors").write_bytes(data)
        text = self.folder / "text.txt"
        text.write_text("uno dos tres")
        for command in (("bench", damaged, "--prompt", "3", "--generate", "2", "--repeat", "1"), ("run", damaged, "uno", "--raw"),
                        ("run", damaged, "uno", "--json"), ("chat", damaged), ("embed", damaged, "uno"),
                        ("perplexity", damaged, "--text", text)):
            with self.subTest(command[0]):
                self.alia(*command, code=1, stdin="uno\n")
                self.assertRegex(self.error.replace(str(damaged), ""), "damaged|no finite numbers")

    # ---- Quality

    def texts(self):
        """Two texts, and their chunks of at most 16 tokens as the help of `alia perplexity` describes them."""
        paths, chunks = [], []
        for name, text in (("one.txt", "El mar estaba en calma, y nadie hablaba."), ("two.txt", "Hoy no. <|im_end|> Quiza el lunes")):
            path = self.folder / name
            path.write_text(text)
            ids = [int(i) for i in self.alia("tokenize", self.model, text, "--no-special").split()]
            paths += ["--text", path]
            chunks.append([[1] + ids[i:i + 15] for i in range(0, len(ids), 15)])
        return paths, chunks

    def test_perplexity(self):
        paths, chunks = self.texts()
        ids, out = self.folder / "ids.txt", self.folder / "out.npy"
        losses = []
        for text in chunks:
            losses.append([])
            for chunk in text:
                ids.write_text(" ".join(map(str, chunk)))
                self.alia("logits", self.model, "--ids", ids, "--out", out)
                for row, following in zip(read_npy(out)[1], chunk[1:]):
                    losses[-1].append(math.log(sum(math.exp(x) for x in row)) - row[following])
        found = json.loads(self.alia("perplexity", self.model, *paths, "--context", "16", "--json"))
        for each, result in zip([*losses, losses[0] + losses[1]], [*found["texts"], found["all"]]):
            mean = sum(each) / len(each)
            error = math.sqrt(sum((x - mean) ** 2 for x in each) / (len(each) - 1) / len(each))
            self.assertEqual(result["positions"], len(each))
            self.assertAlmostEqual(result["perplexity"]["value"] / math.exp(mean), 1, delta=1e-6)
            self.assertAlmostEqual(result["perplexity"]["error"] / (math.exp(mean) * error), 1, delta=1e-2)
        shown = self.alia("perplexity", self.model, *paths, "--context", "16")
        self.assertRegex(shown, rf"(?m)^all +{len(losses[0] + losses[1])} +{found['all']['perplexity']['value']:.4f} ±")

    def test_perplexity_against_a_reference(self):
        paths, _ = self.texts()
        saved = self.folder / "saved.logits"
        command = ["perplexity", self.model, *paths, "--context", "16", "--json"]
        self.alia(*command, "--save", saved)
        same = json.loads(self.alia(*command, "--reference", saved))["all"]
        self.assertLess(abs(same["kl_max"]), 1e-8)
        self.assertEqual(same["same_top"]["value"], 1)
        self.assertAlmostEqual(same["reference_perplexity"]["value"] / same["perplexity"]["value"], 1, delta=1e-5)
        moved = json.loads(self.alia(*command, "--reference", saved, "--kv", "bf16"))["all"]
        self.assertGreater(moved["kl"]["value"], 1e-7)
        self.assertEqual(sorted([moved["kl_median"], moved["kl_999"], moved["kl_max"]]),
                         [moved["kl_median"], moved["kl_999"], moved["kl_max"]])

    def test_references_that_do_not_fit(self):
        paths, _ = self.texts()
        saved, bad = self.folder / "good.logits", self.folder / "bad.logits"
        command = ["perplexity", self.model, *paths, "--context", "16"]
        self.alia(*command, "--save", saved)
        good = saved.read_bytes()
        first_row = 24 + 8 + 4 * 16
        wrong = [good[:n] for n in (0, 7, 23, 24, 33, first_row, first_row + 9, len(good) - 1)] + [good + b"x"]
        for byte in (*range(24), 24, 31, 32, 95, first_row + 2, first_row + 4, first_row + 7):
            wrong.append(good[:byte] + bytes([good[byte] ^ 0x81]) + good[byte + 1:])
        for content in wrong:
            bad.write_bytes(content)
            self.alia(*command, "--reference", bad, code=1)
            self.assertRegex(self.error, r"bad\.logits, byte \d+: ")
        self.alia("perplexity", self.model, *paths, "--context", "15", "--reference", saved, code=1)
        self.assertIn("the same texts and --context", self.error)
        self.alia(*command, "--reference", self.folder / "none.logits", code=1)
        self.alia(*command, "--save", self.folder / "no" / "folder", code=1)
        self.alia(*command, "--reference", bad, "--save", self.folder / "half.logits", code=1)
        self.assertEqual([p.name for p in self.folder.glob("half.logits*")], [])
        empty = self.folder / "empty.txt"
        empty.write_text("")
        self.alia("perplexity", self.model, "--text", empty, code=1)
        self.assertIn("empty.txt", self.error)

    def test_imatrix(self):
        paths, chunks = self.texts()
        out = self.folder / "imatrix.gguf"
        self.assertRegex(self.alia("imatrix", self.model, *paths, "--context", "16", "--out", out), rf"{sum(map(len, sum(chunks, [])))} tokens")
        content = out.read_bytes()
        def holds(text):
            return struct.pack("<Q", len(text)) + text.encode() in out.read_bytes()
        for text in ("general.type", "imatrix.datasets", str(paths[1]), str(paths[3]), "blk.1.ffn_down.weight.in_sum2", "blk.0.attn_v.weight.counts"):
            self.assertTrue(holds(text), text)
        self.assertFalse(holds("output.weight.in_sum2"))
        self.alia("imatrix", self.model, *paths, "--context", "16", "--out", out, "--threads", "1")
        self.assertTrue(out.read_bytes() == content)
        self.alia("imatrix", self.model, *paths, "--head", "--out", out)
        self.assertTrue(holds("output.weight.in_sum2"))
        self.alia("imatrix", self.model, *paths, "--out", self.folder / "no" / "folder.gguf", code=1)
        self.assertIn("folder.gguf", self.error)

    # ---- Quantising

    def test_quantize(self):
        source, out = self.model, self.folder / "out.gguf"
        report = json.loads(self.alia("quantize", source, out, "--type", "F32", "--json"))
        self.assertEqual(report["file_bytes"], out.stat().st_size)
        self.assertEqual(report["bytes"], sum(t["bytes"] for t in report["tensors"]))
        options = ["hola", "-n", "40", "--temp", "0", "--raw", "--device", "ref"]
        self.assertEqual(self.run_json(out, *options)["ids"], self.run_json(source, *options)["ids"])
        self.assertEqual(self.alia("tokenize", out, "hola  que"), self.alia("tokenize", source, "hola  que"))
        table = self.alia("quantize", source, out, "--type", "q4_k_m")
        self.assertRegex(table, r"(?m)^fallbacks +wanted Q4_K, Q5_0, columns \d+, tensors \d+$")
        table = self.alia("quantize", out, self.folder / "again.gguf", "--type", "Q8_0")
        self.assertRegex(table, r"(?m)^note +the source is quantised already \(Q5_0\)")
        weights = self.folder / "weights.gguf"
        self.alia("imatrix", source, *self.texts()[0], "--out", weights)
        plain = out.read_bytes()
        self.alia("quantize", source, out, "--type", "Q4_K_M", "--imatrix", weights)
        self.assertNotEqual(out.read_bytes(), plain)
        self.alia("quantize", source, out, "--type", "Q3_K_M", code=1)
        self.assertIn("Q4_K_M", self.error)
        self.alia("quantize", source, self.folder, "--type", "Q8_0", code=1)
        self.assertIn("directory", self.error)

    def test_quantize_leaves_no_half_file(self):
        def full_disk():
            resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        command = [ALIA, "quantize", self.model, self.folder / "half.gguf", "--type", "F32"]
        full = subprocess.run(command, capture_output=True, preexec_fn=full_disk, restore_signals=False)  # SIGXFSZ stays ignored
        self.assertEqual((full.returncode, full.stderr[:6]), (1, b"alia: "))
        self.assertIn(b"half.gguf", full.stderr)
        self.assertEqual([p.name for p in self.folder.glob("half.gguf*")], [])

    def test_bench_counts(self):
        info = json.loads(self.alia("info", self.model, "--json"))
        head = info["vocabulary"] * info["hidden"]
        products = info["parameters"] - (1 if info["tied_embeddings"] else 2) * head
        options = ["--prompt", "7", "--generate", "4", "--context", "0,100", "--repeat", "1", "--json"]
        prompt, start, later = [json.loads(line) for line in self.alia("bench", self.model, *options).splitlines()]
        def per_token(x):
            return x["share"] * x["roofs"][x["roof"]] / x["median"]
        def near(value, wanted):
            self.assertAlmostEqual(value / wanted, 1, delta=1e-4)
        near(per_token(prompt), products + head / 7)
        near(per_token(start), start["token_bytes"] + 3 * start["position_bytes"])  # after 1 token, 4 more: 3 on average
        near(per_token(later), later["token_bytes"] + 106 * later["position_bytes"])  # 100, 4 of the warm-up, then half of 4
        # A generated token costs what a prompt of one costs, up to the noise of a busy machine.
        one, many = [json.loads(line)["median"] for line in self.alia("bench", self.model, "--prompt", "1", "--generate", "400", "--json").splitlines()]
        self.assertLess(many, 100 * one)

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
        command = [ALIA, "run", str(self.model), "hola", "--raw", "--temp", "5", "--top-p", "1", "--ctx", "100000"]
        for seed in range(20):  # one whose text goes on for long enough
            with subprocess.Popen([*command, "--seed", str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                process.stdout.read(1)
                process.send_signal(signal.SIGINT)
                _, error = process.communicate(timeout=60)
            if process.returncode != 0:
                break
        self.assertEqual(process.returncode, 130)
        self.assertRegex(error.decode(), r"load .* generated \d+ tokens.* ended by cancelled")

    def test_terminal(self):
        def error_on_terminal(environment):
            ours, theirs = pty.openpty()
            with subprocess.Popen([ALIA, "info", str(self.folder / "none.gguf")], stderr=theirs, env={**os.environ, **environment}) as process:
                process.wait(timeout=60)
            os.close(theirs)
            text = os.read(ours, 65536).decode()
            os.close(ours)
            return text
        self.assertIn("\033[", error_on_terminal({"TERM": "xterm", "NO_COLOR": ""}))
        self.assertTrue(error_on_terminal({"TERM": "xterm", "NO_COLOR": "1"}).startswith("alia: "))

    # ---- Batches

    def batch(self, lines, *options, code=0, name="results.jsonl"):
        """The results by line."""
        path = self.folder / "batch.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        self.alia("batch", self.model, path, "--out", self.folder / name, *options, code=code)
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
            self.assertEqual(sorted(results[i]), ["error", "id", "input", "status"], line)
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
        for changed, options in (([{**lines[0], "id": 99}, *lines[1:]], []), (lines[1:], []), ([], []), (lines, ["--seed", "1"]), (lines, ["--system", "x"])):
            path.write_bytes(full)
            self.batch(changed, *options, code=1)
            self.assertRegex(self.error, r"\Aalia: .*results\.jsonl: its result of line \d+ is not of that line")
            self.assertEqual(path.read_bytes(), full)
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
                locked = subprocess.run(command, capture_output=True)
                process.send_signal(kind)
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

    @unittest.skipUnless(CHAT, "no chat model given")
    def test_embed_with_a_chat_model(self):
        lines = [json.loads(line)["embedding"] for line in
                 self.alia("embed", CHAT, "the cat sleeps", "a cat is sleeping", "interest rates rose in March", "--normalise").splitlines()]
        def cosine(a, b):
            return sum(x * y for x, y in zip(a, b))
        self.assertGreater(cosine(lines[0], lines[1]), cosine(lines[0], lines[2]))

    @unittest.skipUnless(CHAT, "no chat model given")
    def test_chat_model(self):
        question = ["What is the capital of Spain?", "--system", "Answer in one sentence.", "--temp", "0", "-n", "40"]
        answer = self.run_json(CHAT, *question)
        self.assertIn("Madrid", answer["text"])
        self.assertEqual(answer["finish"], "stop")
        self.assertEqual(self.alia("run", CHAT, *question).strip(), answer["text"].strip())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *os.environ.get("ALIA_CLI_TESTS", "").split()], verbosity=1)
