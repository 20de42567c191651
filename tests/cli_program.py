"""The command line's program with a tiny model that speaks: what its tests share. Their arguments are ALIA MODELS [CHAT]: the program,
the folder tests/data/models, and, where given, the SmolLM2-135M-Instruct GGUF of the demo."""
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tiny_chat import SPECIAL, make, tokenizer_json

ALIA, MODELS = sys.argv[1], Path(sys.argv[2])
CHAT = sys.argv[3] if len(sys.argv) > 3 else None
START, END = SPECIAL.index("<|im_start|>"), SPECIAL.index("<|im_end|>")


class WithProgram(unittest.TestCase):
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


def main():
    """Runs the tests of the calling script, or those that ALIA_CLI_TESTS names."""
    unittest.main(argv=[sys.argv[0], *os.environ.get("ALIA_CLI_TESTS", "").split()], verbosity=1)
