"""What the tests share: the package, and the tiny model."""
import shutil
import sys
import tempfile
import time
import unittest

import tiny

sys.path.insert(0, str(tiny.root / "bindings/python"))
import alia  # noqa: E402


class WithModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="alia-python-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        tiny.write(cls.folder)
        cls.model = alia.Model(cls.folder, threads=1)  # more threads would only wait for each other
        cls.addClassCleanup(cls.model.close)

    def engine(self, **options):
        engine = alia.Engine(self.model, **{"context": 512, **options})
        self.addCleanup(engine.close)
        return engine


def forced(ids):
    """A logits hook that has these tokens generated, one after the other."""
    def hook(logits, tokens):
        wanted = logits * 0 - 1e9
        wanted[ids[len(tokens)]] = 0
        return wanted
    return hook


def until(reached, seconds=30):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)
