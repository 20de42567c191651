"""libalia for the comparison: its C interface through ctypes, one model, a short and a long request."""
import ctypes
import json
import time

from common import token_ids

ALL, IGNORE_EOS, TOKEN, FINISHED = 0, 1, 1, 3


class ModelOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("load", ctypes.c_int32), ("device", ctypes.c_char_p), ("device_length", ctypes.c_uint64),
                ("threads", ctypes.c_int32), ("zero", ctypes.c_uint32), ("json_bytes", ctypes.c_uint64), ("progress", ctypes.c_void_p),
                ("user", ctypes.c_void_p)]


class EngineOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("cache", ctypes.c_int32), ("context", ctypes.c_int64), ("chunk", ctypes.c_int32),
                ("logit_rows", ctypes.c_int32), ("threads", ctypes.c_int32), ("zero", ctypes.c_uint32)]


class RequestOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("max_tokens", ctypes.c_int64), ("temperature", ctypes.c_double),
                ("top_p", ctypes.c_double), ("min_p", ctypes.c_double), ("repetition_penalty", ctypes.c_double),
                ("frequency_penalty", ctypes.c_double), ("presence_penalty", ctypes.c_double), ("top_k", ctypes.c_int32),
                ("stop_count", ctypes.c_uint32), ("stop", ctypes.c_void_p), ("bias_token", ctypes.c_void_p), ("bias", ctypes.c_void_p),
                ("bias_count", ctypes.c_uint64), ("seed", ctypes.c_uint64)]


class Event(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("kind", ctypes.c_int32), ("request", ctypes.c_uint64), ("token", ctypes.c_int32),
                ("finish", ctypes.c_int32), ("rows", ctypes.c_int32), ("zero", ctypes.c_uint32), ("position", ctypes.c_int64),
                ("text", ctypes.c_void_p), ("text_length", ctypes.c_uint64), ("logits", ctypes.c_void_p), ("columns", ctypes.c_int64),
                ("prompt_tokens", ctypes.c_int64), ("generated_tokens", ctypes.c_int64)]


class Alia:
    def __init__(self, o):
        self.lib = ctypes.CDLL(o["library"])
        self.lib.alia_error_message.restype = ctypes.c_char_p
        self.lib.alia_version.restype = ctypes.c_char_p
        self.threads, self.device, self.path = o["threads"], (o["device"] or "").encode(), o["file"].encode()
        self.options = ModelOptions(ctypes.sizeof(ModelOptions), ALL, self.device, len(self.device), self.threads)
        self.model = ctypes.c_void_p()
        start = time.perf_counter()
        self.check(self.lib.alia_model_open(self.path, ctypes.c_uint64(len(self.path)), ctypes.byref(self.options), ctypes.byref(self.model)))
        self.load_seconds = time.perf_counter() - start
        self.info = self.text(self.lib.alia_model_info, self.model)
        self.vocabulary = self.info["vocabulary"]
        self.short = self.open_engine(o["short"] + 2)
        self.long = self.open_engine(o["long"] + 2) if o["long"] else None
        self.request = ctypes.c_uint64()

    def name(self):
        return f"libalia {self.lib.alia_version().decode()} ({self.info['device']})"

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.lib.alia_error_message().decode())

    def text(self, function, *arguments):
        """The JSON object that a function gives, and its memory given back."""
        json_text, length = ctypes.c_void_p(), ctypes.c_uint64()
        self.check(function(*arguments, ctypes.byref(json_text), ctypes.byref(length)))
        value = json.loads(ctypes.string_at(json_text, length.value))
        self.lib.alia_text_free(json_text)
        return value

    def open_engine(self, context):
        options = EngineOptions(ctypes.sizeof(EngineOptions), 0, context, 512, 32, 0, 0)
        engine = ctypes.c_void_p()
        self.check(self.lib.alia_engine_open(self.model, ctypes.byref(options), ctypes.byref(engine)))
        return engine

    def submit(self, engine, ids, count):
        options = RequestOptions(ctypes.sizeof(RequestOptions), IGNORE_EOS, count, 0, 1, 0, 1, 0, 0, 0)
        array = (ctypes.c_int32 * len(ids))(*ids)
        self.check(self.lib.alia_engine_submit(engine, array, ctypes.c_uint64(len(ids)), ctypes.byref(options), ctypes.byref(self.request)))

    def take(self, engine, wanted, kind=TOKEN):
        """Steps until so many events of this kind have come."""
        event, count = Event(ctypes.sizeof(Event)), ctypes.c_uint32()
        while wanted > 0:
            self.check(self.lib.alia_engine_step(engine, ctypes.byref(event), 1, ctypes.byref(count)))
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
        return self.text(self.lib.alia_device_roofs, self.device, ctypes.c_uint64(len(self.device)), ctypes.c_int32(self.threads))

    def read_bytes(self):
        """What a generated token must read of the weights, and of the cache for every earlier position."""
        weights = sum(w["bytes"] for w in self.info["weights"])
        if not self.info["tied_embeddings"]:
            weights -= self.info["embedding"]["bytes"]
        positions = 64
        options = EngineOptions(ctypes.sizeof(EngineOptions), 0, positions, 1, 1, 0, 0)
        plan = self.text(self.lib.alia_plan, self.path, ctypes.c_uint64(len(self.path)), ctypes.byref(self.options), ctypes.byref(options))
        cache = sum(i["bytes"] for i in plan["items"] if i["name"].startswith("KV cache"))
        return {"weights": weights, "position": cache // positions}

    variants = [""]
