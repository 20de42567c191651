#!/usr/bin/env python3
"""The command line on files and models, as its users meet it: cli.py ALIA MODELS [CHAT] (cli_program.py says what these are)."""
import ast
import json
import math
import os
import pty
import re
import resource
import shutil
import struct
import subprocess
import unittest

from cli_program import ALIA, CHAT, END, MODELS, WithProgram, main
from tiny_chat import LETTERS, letters


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


class Cli(WithProgram):
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
        for command in (["plan", self.model], ["run", self.model, "a"]):  # which is a format of cards
            self.alia(*command, "--kv", "fp8", "--device", "cpu:base", code=1)
            self.assertRegex(self.error, r"cpu_base keeps the KV cache of this model .* in F32, F16, BF16.*; not in E4M3")

    def test_doctor(self):
        report = json.loads(self.alia("doctor", "--json", environment={"ALIA_DEVICE": ""}))
        library = report["library"]
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
        self.assertEqual(library["processors"]["affinity"], len(os.sched_getaffinity(0)))
        self.assertTrue(1 <= library["threads"] <= library["processors"]["affinity"] <= library["processors"]["online"])
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
        spanish = self.alia("doctor", self.model, "--lang", "es")
        self.assertRegex(spanish, r"(?m)^hilos +\d+ de \d+ procesadores")
        self.assertRegex(spanish, r"(?m)^ +ref: [\d.]+ [KM]iB de [\d.]+ .iB, cabe$")
        self.assertEqual({line[:19].rstrip() == "" or line[18] == " " and line[19] != " " for line in spanish.splitlines()}, {True})
        english = re.findall(r"\b(?:the|of|and|memory|threads|devices|available|fits|yes|no,)\b", spanish)
        self.assertEqual(english, [])
        options = ["doctor", self.model, "--json"]
        self.assertEqual(json.loads(self.alia(*options, "--lang", "es"))["runs_on"], json.loads(self.alia(*options))["runs_on"])
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

    @unittest.skipUnless(CHAT, "no chat model given")
    def test_embed_with_a_chat_model(self):
        lines = [json.loads(line)["embedding"] for line in
                 self.alia("embed", CHAT, "the cat sleeps", "a cat is sleeping", "interest rates rose in March", "--normalise").splitlines()]
        def cosine(a, b):
            return sum(x * y for x, y in zip(a, b))
        self.assertGreater(cosine(lines[0], lines[1]), cosine(lines[0], lines[2]))

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
        streams = ["--prompt", "1", "--generate", "3", "--context", "0,20", "--streams", "1,3", "--repeat", "2", "--chunk", "16"]
        lines = [json.loads(line) for line in self.alia("bench", self.model, *streams, "--json").splitlines()[1:]]
        self.assertEqual([(x["measure"], x["streams"]) for x in lines],
                         [("generate 3", 1), ("generate 3, 3 streams", 3), ("generate 3 after 20", 1), ("generate 3 after 20, 3 streams", 3)])

    def test_bench_without_files(self):
        options = ["--synthetic", "tiny", "--prompt", "9", "--generate", "3", "--repeat", "1", "--threads", "1"]
        for kind in ("bf16", "q4_k", "fp8"):
            lines = [json.loads(line) for line in self.alia("bench", *options, "--type", kind, "--json").splitlines()]
            self.assertEqual([x["measure"] for x in lines], ["prompt 9", "generate 3"])
            # Two matrices of 512 x 256, and in each of two layers 256 x (256 + 2 x 128 + 256 + 3 x 512); norms.
            self.assertEqual(lines[0]["parameters"], 2 * 512 * 256 + 2 * 256 * 2304 + 5 * 256)
            self.assertEqual(lines[0]["path"], f"synthetic:tiny:{kind}")
        one = json.loads(self.alia("bench", *options, "--layers", "1", "--json").splitlines()[0])
        self.assertEqual(one["parameters"], 2 * 512 * 256 + 256 * 2304 + 3 * 256)
        # Nothing is made that has no room.
        self.alia("bench", "--synthetic", "alia-40b", "--type", "f32", "--context", "160000", code=1)
        self.assertRegex(self.error, r"synthetic:alia-40b:f32.*: needs .* and .* are there")
        for wrong, what in ((["--synthetic", "alia"], "there is no shape"), (["--synthetic", "tiny", "--type", "q9"], "there is no type"),
                            (["--synthetic", "tiny", "--layers", "3"], "from 1 to 2"),
                            (["--synthetic", "salamandra-2b", "--type", "q4_k"], "no whole blocks of Q4_K")):
            self.alia("bench", *wrong, code=1)
            self.assertIn(what, self.error)
        self.alia("bench", code=2)
        self.alia("bench", self.model, "--synthetic", "tiny", code=2)
        self.alia("bench", self.model, "--type", "bf16", code=2)

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

    def test_bench_counts(self):
        info = json.loads(self.alia("info", self.model, "--json"))
        head = info["vocabulary"] * info["hidden"]
        products = info["parameters"] - (1 if info["tied_embeddings"] else 2) * head
        options = ["--prompt", "7", "--generate", "4", "--context", "0,100", "--repeat", "1", "--json"]
        prompt, start, later = [json.loads(line) for line in self.alia("bench", self.model, *options).splitlines()]
        def near(value, wanted):
            self.assertAlmostEqual(value / wanted, 1, delta=1e-4)
        near(prompt["work"], products + head / 7)
        near(prompt["share"] * prompt["roofs"][prompt["roof"]] / prompt["median"], prompt["work"])
        streams = json.loads(self.alia("bench", self.model, *options, "--streams", "3").splitlines()[1])
        near(3 * streams["work"], streams["token_bytes"] + 3 * 3 * streams["position_bytes"])  # a step
        near(start["work"], start["token_bytes"] + 3 * start["position_bytes"])  # after 1 token, 4 more: 3 on average
        near(later["work"], later["token_bytes"] + 106 * later["position_bytes"])  # 100, 4 of the warm-up, then half of 4
        for x in (start, later, streams):
            self.assertTrue(0 < x["share"] < 2)  # of turns of reading, beside each of tokens
        # A generated token costs what a prompt of one costs, up to the noise of a busy machine.
        one, many = [json.loads(line)["median"] for line in self.alia("bench", self.model, "--prompt", "1", "--generate", "400", "--json").splitlines()]
        self.assertLess(many, 100 * one)

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


if __name__ == "__main__":
    main()
