"""Engines, which run many requests on one model at once, and their resident sequences."""
import ctypes as C
import json
import os
import weakref
from array import array
from collections.abc import Sequence as Sequence_
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from . import _c
from ._answers import Answering, Prepared, Stream
from ._c import lib
from ._chat import ChatEnd, Message
from ._dispatch import Dispatcher, Item, Request, Visit
from ._errors import Error
from ._model import Model, Prompt, take_ids, take_text
from ._options import Floats

Cache = Literal["auto", "f32", "f16", "bf16", "q8_0", "fp8"]


def engine_options(
    *,
    context: int = 4096,
    cache: Cache = "auto",
    sequences: int = 16,
    positions: int = 0,
    chunk: int = 256,
    logit_rows: int = 32,
    threads: int = 0,
    queue: int = 1 << 20,
) -> _c.EngineOptions:
    caches = ("auto", "f32", "f16", "bf16", "q8_0", "fp8")
    if cache not in caches:
        raise ValueError(f"cache is {cache!r}; it may be {', '.join(caches)}")
    return _c.EngineOptions(
        context=context, cache=caches.index(cache), sequences=sequences, positions=positions, chunk=chunk,
        logit_rows=logit_rows, threads=threads, queue=queue,
    )


class Engine(Answering):
    """A model with a KV cache, on which many requests run at once. It may be used from any thread and any event loop.

    context    positions of the longest sequence
    cache      the KV cache's format: "auto", "f32", "f16", "bf16", "q8_0", "fp8"
    sequences  that run at once; other requests wait
    positions  that the KV cache holds for all sequences together; 0: as `context`
    chunk      tokens of prompts that one step processes at most
    threads    0: as the model's
    logit_rows rows of prompts' logits that one step computes at most
    queue      requests that wait at most

    The library computes in a thread of its own, and one Python thread hands out what comes. `close`, or `with`, ends both;
    requests that are still running then raise alia.Error.
    """

    def __init__(
        self,
        model: Model,
        *,
        context: int = 4096,
        cache: Cache = "auto",
        sequences: int = 16,
        positions: int = 0,
        chunk: int = 256,
        logit_rows: int = 32,
        threads: int = 0,
        queue: int = 1 << 20,
    ) -> None:
        options = engine_options(
            context=context, cache=cache, sequences=sequences, positions=positions, chunk=chunk, logit_rows=logit_rows,
            threads=threads, queue=queue,
        )
        self.model = model
        self._handle = C.c_void_p()
        lib.alia_engine_open(model._handle, C.byref(options), C.byref(self._handle))
        self._dispatcher = Dispatcher(self._handle)
        self._close = weakref.finalize(self, self._dispatcher.close)

    def close(self) -> None:
        """Ends it once the step that runs is done. Closing twice is fine."""
        self._close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, prepared: Prepared, request: Request) -> Dispatcher:
        self._dispatcher.submit(prepared.ids, prepared.options, request)
        return self._dispatcher

    def _last(self) -> int | None:
        return None

    # ---- Numbers

    def _visited(self, prompt: Prompt, visit: Visit, flags: int, pooling: int = _c.POOLING_NONE) -> Stream:
        """A request that generates nothing; its numbers go to the visitor."""
        options = _c.RequestOptions(max_tokens=0, flags=flags, pooling=pooling)
        return Stream(self._submit, Prepared(self.model._ids(prompt, True), options, visit=visit))

    def visit_logits(self, prompt: Prompt, visit: Visit) -> None:
        """Calls visit(position, rows) with the logits of every position of the prompt, in order, several rows at a time:
        float32 [rows, columns], one row for each position from `position` on. `rows` is the library's memory itself:
        read-only, and valid until the visitor returns, so copy what is kept. The visitor runs in the engine's thread and
        must not use the engine; what it raises is raised here."""
        self._visited(prompt, visit, _c.REQUEST_PROMPT_LOGITS)._all()

    def logits(self, prompt: Prompt) -> Floats:
        """The logits of every position of the prompt: float32 [tokens, columns]. Rows are copied once, from the library's
        memory, which lasts for some of them at a time, into this array; visit_logits does without."""
        ids = self.model._ids(prompt, True)
        gathered = np.empty((0, 0), np.float32)

        def copy(position: int, rows: Floats) -> None:
            nonlocal gathered
            if not gathered.size:
                gathered = np.empty((len(ids), rows.shape[1]), np.float32)
            gathered[position : position + len(rows)] = rows

        self.visit_logits(ids, copy)
        return gathered

    def score(self, prompt: Prompt) -> Floats:
        """The natural logarithm of the probability of every token of the prompt but the first: float32 [tokens - 1]."""
        scores: list[Floats] = []
        self._visited(prompt, lambda _, values: scores.append(values[0].copy()), _c.REQUEST_PROMPT_SCORES)._all()
        return np.concatenate(scores) if scores else np.empty(0, np.float32)

    def embed(
        self, prompt: str | Sequence_[str], *, pooling: Literal["mean", "last"] = "mean", normalise: bool = True
    ) -> Floats:
        """The last hidden states of a text, pooled over its tokens: float32 [columns]; of several texts, computed together:
        [texts, columns]. `normalise` gives each length 1."""
        poolings = {"mean": _c.POOLING_MEAN, "last": _c.POOLING_LAST}
        if pooling not in poolings:
            raise ValueError(f"pooling is {pooling!r}; it may be mean or last")
        flags = _c.REQUEST_NORMALISE if normalise else 0
        found: list[Floats] = []

        def request(text: str) -> tuple[list[Floats], Stream]:
            mine: list[Floats] = []
            return mine, self._visited(text, lambda _, values: mine.append(values[0].copy()), flags, poolings[pooling])

        for mine, stream in [request(text) for text in ([prompt] if isinstance(prompt, str) else prompt)]:
            stream._all()
            found += mine
        return found[0] if isinstance(prompt, str) else np.stack(found)

    @property
    def counters(self) -> dict[str, Any]:
        """What it has done and holds: "steps", "prompt_tokens", "generated_tokens", "cached_tokens", "running", "pages", ..."""
        counters: dict[str, Any] = json.loads(take_text(lib.alia_engine_counters, self._handle))
        return counters

    # ---- Sequences

    def sequence(self) -> "Sequence":
        """A new sequence, empty."""
        number = C.c_uint64()
        lib.alia_sequence_new(self._handle, C.byref(number))
        return Sequence(self, number.value)

    def restore(self, saved: bytes | str | os.PathLike[str], messages: Sequence_[Message] | None = None) -> "Sequence":
        """A new sequence from what Sequence.save left in a file, or from the bytes of Sequence.saved, on an engine of the same
        model, cache format and kernels. `messages` are the Sequence.messages of then: its conversation goes on."""
        number = C.c_uint64()
        if isinstance(saved, bytes):
            lib.alia_sequence_restore(self._handle, saved, len(saved), C.byref(number))
        else:
            path = os.fsencode(saved)
            lib.alia_sequence_restore_file(self._handle, path, len(path), C.byref(number))
        return Sequence(self, number.value, messages, None if messages is None else 0)


class Sequence(Answering):
    """Tokens that stay in an engine with their pages, so that requests which continue them process only what is new: what is
    asked of a sequence, and the answer, become part of it. One request at a time runs on it. `close`, or `with`, frees it.

    messages  the conversation so far, which may be changed: of what the next question makes of it, tokens are processed
              from the first that differs. A prompt that is no question, and `truncate`, end it: the next question begins
              one behind what is there."""

    def __init__(
        self, engine: Engine, number: int, messages: Sequence_[Message] | None = None, before: int | None = 0
    ) -> None:
        self.engine, self.model, self._number = engine, engine.model, number
        self.messages = [dict(message) for message in messages or ()]
        self._before = before  # tokens in front of the conversation; None: all
        self._request: Request | None = None
        self._close = weakref.finalize(self, _free_sequence, engine._handle, number)

    def close(self) -> None:
        """Closing twice, or after the engine, is fine."""
        self._wait()
        self._close()

    def __enter__(self) -> "Sequence":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, prepared: Prepared, request: Request) -> Dispatcher:
        prepared.options.sequence = self._number
        if prepared.conversation:
            answer = prepared.conversation[-1]

            def write(item: Item) -> None:
                answer["content"] += item.text

            request.note = write
        dispatcher = self.engine._submit(prepared, request)
        self._request = request
        if prepared.conversation:
            self.messages = prepared.conversation
        else:
            self._end_conversation()
        return dispatcher

    def _end_conversation(self) -> None:
        self.messages, self._before = [], None

    def _said(self) -> list[dict[str, Any]]:
        return self.messages

    def _converse(self, prepared: Prepared, messages: list[dict[str, Any]], end: ChatEnd) -> Prepared:
        if end == "continue" and not isinstance(messages[-1].get("content"), str):
            raise ValueError("the message to continue has no text as its content")
        if end != "continue":
            messages = [*messages, {"role": "assistant", "content": ""}]
        ids, kept = prepared.ids, C.c_uint64()
        if self._before is None:
            self._before = len(self.tokens)
        if self._before:
            ids = array("i", self.tokens[: self._before]) + (ids[1:] if ids and ids[0] == self.model.bos else ids)
        self._wait()
        lib.alia_sequence_keep(self.engine._handle, self._number, ids.buffer_info()[0], len(ids), C.byref(kept))
        return replace(prepared, ids=ids[kept.value :], conversation=messages)

    def _last(self) -> int | None:
        tokens = self.tokens
        return tokens[-1] if tokens else None

    def _wait(self) -> None:
        """Until a request that was cancelled is over: the next step ends it."""
        if self._request and self._request.cancelled:
            self._request.over.wait()

    def extend(self, prompt: Prompt) -> None:
        """Adds the prompt and processes it, so that what follows it starts at once."""
        self.complete(prompt, max_tokens=0)

    def fork(self) -> "Sequence":
        """A copy, which shares its pages."""
        self._wait()
        number = C.c_uint64()
        lib.alia_sequence_fork(self.engine._handle, self._number, C.byref(number))
        return Sequence(self.engine, number.value, self.messages, self._before)

    def truncate(self, length: int) -> None:
        """Forgets every token from `length` on."""
        self._wait()
        lib.alia_sequence_truncate(self.engine._handle, self._number, length)
        self._end_conversation()

    @property
    def tokens(self) -> list[int]:
        self._wait()
        return take_ids(lib.alia_sequence_tokens, self.engine._handle, self._number)

    def __len__(self) -> int:
        return len(self.tokens)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes its tokens and their pages to a file, which takes its name once it is whole. See Engine.restore."""
        self._wait()
        name = os.fsencode(path)
        lib.alia_sequence_save_file(self.engine._handle, self._number, name, len(name))

    def saved(self) -> bytes:
        """The same as bytes."""
        self._wait()
        memory, length = C.c_void_p(), C.c_uint64()
        lib.alia_sequence_save(self.engine._handle, self._number, C.byref(memory), C.byref(length))
        try:
            return C.string_at(memory, length.value)
        finally:
            lib.alia_bytes_free(memory)


def _free_sequence(engine: C.c_void_p, number: int) -> None:
    try:
        lib.alia_sequence_free(engine, number)
    except Error:
        pass  # its engine is closed, or a request still runs on it and the engine will free it
