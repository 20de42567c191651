"""The blocks of docs/python.md, one behind the other, are a program that runs."""
import contextlib
import io
import os
import re
import tempfile
import unittest
from pathlib import Path

import fixtures  # noqa: F401 (finds the package)
import tiny


class TestDocs(unittest.TestCase):
    def test_blocks(self):
        blocks = re.findall(r"```python\n(.*?)```", (tiny.root / "docs/python.md").read_text(), re.S)
        self.assertGreater(len(blocks), 8)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
            os.chdir(folder)
            tiny.write(Path(folder) / "model")
            names = {}
            for block in blocks:
                exec(compile(block, "docs/python.md", "exec"), names)
            os.chdir(before)
        self.assertIn("llama 2\n", said.getvalue())
        self.assertIn("NOT_FOUND", said.getvalue())


if __name__ == "__main__":
    unittest.main()
