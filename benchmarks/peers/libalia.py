"""libalia for the comparison: its C interface by the declarations of its Python package, one model, a short and a long request."""
import ctypes
import json
import os
import sys
import time
from pathlib import Path

from common import token_ids

TOKEN, FINISHED = 1, 3


class Alia:
    def __init__(self, o):
        os.environ["ALIA_LIBRARY"] = o["library"]
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings/python"))
        from alia import _c
        self.c, self.lib = _c, _c.lib
        self.threads, self.device, self.path = o["threads"], (o["device"] or "").encode(), o["file"].encode()
        self.options = _c.ModelOptions(device=self.device, device_length=len(self.device), threads=self.threads)
        self.model = ctypes.c_void_p()
        start = time.perf_counter()
        self.lib.alia_model_open(self.path, len(self.path), self.options, self.model)
        self.load_seconds = time.perf_counter() - start
        self.info = self.text(self.lib.alia_model_info, self.model)
        self.vocabulary = self.info["vocabulary"]
        self.short = self.open_engine(o["short"] + 2)
        self.long = self.open_engine(o["long"] + 2) if o["long"] else None

    def name(self):
        return f"libalia {self.lib.alia_version().decode()} ({self.info['device']})"

    def text(self, function, *arguments):
        """The JSON object that a function gives, and its memory given back."""
        json_text, length = ctypes.c_void_p(), ctypes.c_uint64()
        function(*arguments, json_text, length)
        value = json.loads(ctypes.string_at(json_text, length.value))
        self.lib.alia_text_free(json_text)
        return value

    def open_engine(self, context):
        engine = ctypes.c_void_p()
        self.lib.alia_engine_open(self.model, self.c.EngineOptions(context=context, chunk=512, sequences=1), engine)
        return engine

    def submit(self, engine, ids, count):
        """Each prompt is computed: none of its pages is shared."""
        options = self.c.RequestOptions(flags=self.c.REQUEST_IGNORE_EOS | self.c.REQUEST_DO_NOT_SHARE, max_tokens=count, temperature=0)
        self.lib.alia_engine_submit(engine, (ctypes.c_int32 * len(ids))(*ids), len(ids), options, ctypes.c_uint64())

    def take(self, engine, wanted, kind=TOKEN):
        """Steps until so many events of this kind have come."""
        event, count = self.c.Event(), ctypes.c_uint32()
        while wanted > 0:
            self.lib.alia_engine_step(engine, event, 1, count)
            wanted -= count.value and event.kind == kind

    def timed(self, engine, tokens):
        start = time.perf_counter()
        self.take(engine, tokens)
        return time.perf_counter() - start

    # The measurements; each gives seconds. Ours include choosing the token.

    def prompt(self, tokens, _variant):
        start = time.perf_counter()
        self.submit(self.short, token_ids(tokens, self.vocabulary), 1)
        self.take(self.short, 1)
        seconds = time.perf_counter() - start
        self.take(self.short, 1, FINISHED)
        return seconds

    def generate(self, tokens, _variant):
        self.submit(self.short, token_ids(1, self.vocabulary), tokens + 1)
        self.take(self.short, 1)
        seconds = self.timed(self.short, tokens)
        self.take(self.short, 1, FINISHED)
        return seconds

    def fill(self, tokens, _variant):
        self.submit(self.long, token_ids(tokens, self.vocabulary), -1)
        return self.timed(self.long, 1)

    def generate_on(self, tokens, _variant):
        return self.timed(self.long, tokens)

    def roofs(self):
        function = self.lib.alia_device_roofs  # of alia_unstable.h
        pointers = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_uint64)
        function.argtypes = ctypes.c_char_p, ctypes.c_uint64, ctypes.c_int32, *pointers
        return self.text(function, self.device, len(self.device), self.threads)

    def read_bytes(self):
        """What a generated token must read of the weights, and of the cache for every earlier position."""
        weights = sum(w["bytes"] for w in self.info["weights"])
        if not self.info["tied_embeddings"]:
            weights -= self.info["embedding"]["bytes"]
        positions = 64
        engine = self.c.EngineOptions(context=positions, chunk=1, logit_rows=1, sequences=1)
        plan = self.text(self.lib.alia_plan, self.path, len(self.path), self.options, engine)
        cache = sum(i["bytes"] for i in plan["items"] if i["name"].startswith("KV cache"))
        return {"weights": weights, "position": cache // positions}

    variants = [""]
