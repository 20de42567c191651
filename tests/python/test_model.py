"""Models, text and tokens, errors, progress."""
import os
import pickle
import subprocess
import sys
import unittest
from pathlib import Path

from fixtures import WithModel, alia, tiny


class TestModel(WithModel):
    def test_what_is_known(self):
        self.assertEqual(self.model.info["layers"], 2)
        self.assertEqual((self.model.vocabulary, self.model.bos), (len(tiny.VOCABULARY), 1))
        self.assertIn(2, self.model.eos)
        plan = alia.plan(self.folder, context=64)
        self.assertGreater(plan["total"], 0)
        self.assertGreater(alia.plan(self.folder, context=4096)["total"], plan["total"])
        self.assertRegex(alia.__version__, r"^\d+\.\d+\.\d+$")

    def test_text(self):
        ids = self.model.encode(tiny.TEXT, add_special=False)
        self.assertGreater(len(ids), len(tiny.TEXT))
        self.assertEqual(self.model.decode(ids), tiny.TEXT)
        self.assertEqual(b"".join(map(self.model.token_bytes, ids)).decode(), tiny.TEXT)
        self.assertEqual(self.model.encode(""), [1])
        end = self.model.token("<|im_end|>")
        self.assertEqual(end, 4)
        self.assertIsNone(self.model.token("no such"))
        self.assertNotIn(end, self.model.encode("<|im_end|>"))
        self.assertEqual(self.model.encode(["ab", alia.Trusted("<|im_end|>")])[-1], end)
        self.assertEqual(self.model.decode([end]), "")
        self.assertEqual(self.model.decode([end], keep_special=True), "<|im_end|>")
        self.assertEqual(self.model.decode([tiny.VOCABULARY.index("<0x80>")]), "\ufffd")
        text = alia.Model(Path(self.folder) / "tokenizer.json", load="text")
        self.assertEqual(text.encode("ab"), self.model.encode("ab"))

    def test_errors(self):
        with self.assertRaises(alia.NotFound) as caught:
            alia.Model("/nonexistent/model.gguf")
        self.assertIsInstance(caught.exception, LookupError)
        self.assertEqual(caught.exception.status, alia.Status.NOT_FOUND)
        self.assertIn("/nonexistent/model.gguf", str(caught.exception))
        with self.assertRaises(ValueError) as wrong:
            self.model.decode([5, 100000])
        self.assertEqual((wrong.exception.item, wrong.exception.usable), ("ids[1]", True))
        self.assertEqual(pickle.loads(pickle.dumps(wrong.exception)).item, "ids[1]")
        cut = Path(self.folder) / "cut.gguf"
        cut.write_bytes((tiny.root / "tests/data/models/alia.gguf").read_bytes()[:300000])
        with self.assertRaises(alia.Error) as truncated:
            alia.Model(cut)
        self.assertEqual(truncated.exception.status, alia.Status.TRUNCATED)
        self.assertGreater(truncated.exception.offset, 0)
        for call in (lambda: alia.Model(self.folder, load="some"), lambda: self.engine(cache="f8"), lambda: self.engine(context=0)):
            self.assertRaises(ValueError, call)
        self.assertRaises(TypeError, self.model.decode, [1.5])
        self.assertRaises(OverflowError, self.model.decode, [1 << 40])

    def test_closed(self):
        model = alia.Model(self.folder)
        engine = alia.Engine(model, context=64)
        with model:
            pass
        model.close()
        with self.assertRaises(alia.Error) as caught:
            model.encode("a")
        self.assertEqual(caught.exception.status, alia.Status.BAD_HANDLE)
        self.assertEqual(len(engine.complete([5], max_tokens=2, ignore_eos=True)[0].tokens), 2)  # engines go on
        engine.close()
        engine.close()
        self.assertRaises(alia.Error, engine.complete, [5])

    def test_from_files(self):
        names = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")
        files = {name: (Path(self.folder) / name).read_bytes() for name in names}
        with alia.Model.from_files(files) as model, alia.Engine(model, context=64) as engine:
            self.assertEqual(engine.complete("ab", max_tokens=8), self.engine(context=64).complete("ab", max_tokens=8))
        self.assertRaises(alia.Error, alia.Model.from_files, {"config.json": files["config.json"]})

    def test_progress(self):
        seen = []
        alia.Model(self.folder, progress=lambda *now: seen.append(now))
        self.assertEqual(seen[-1][0], "weights")
        self.assertEqual(seen[-1][1], seen[-1][2])

        def stop(*_):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            alia.Model(self.folder, progress=stop)
        alia.Model(self.folder, progress=False)

    def test_tqdm(self):
        """A bar on a terminal where tqdm is there, and nothing elsewhere."""
        program = """
import io, sys, types
class Bar:
    def __init__(self, **options): self.n = 0; shown.append(options["desc"])
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def update(self, more): self.n += more; shown.append((self.n, self.total))
class Terminal(io.StringIO):
    def isatty(self): return sys.argv[2] == "terminal"
shown, stderr, sys.stderr = [], sys.stderr, Terminal()
import importlib.machinery
sys.modules["tqdm"] = module = types.ModuleType("tqdm")
module.tqdm, module.__spec__ = Bar, importlib.machinery.ModuleSpec("tqdm", None)
import alia
alia.Model(sys.argv[1])
print(shown[0] if shown else "", shown[-1][0] == shown[-1][1] if shown else "", sys.stderr.getvalue())
"""
        for terminal, expected in (("terminal", "loading True"), ("file", "")):
            done = subprocess.run([sys.executable, "-c", program, self.folder, terminal], capture_output=True, text=True, check=True,
                                  env={**os.environ, "PYTHONPATH": str(tiny.root / "bindings/python")})
            self.assertEqual(done.stdout.strip(), expected, done.stderr)


if __name__ == "__main__":
    unittest.main()
