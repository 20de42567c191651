"""Models: weights, tokenizer, and what is known of them."""
import ctypes as C
import json
import os
import weakref
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias, Unpack

from . import _c
from ._c import lib
from ._chat import ChatOptions, Message, chat_arguments
from ._errors import NotFound
from ._progress import watch

Progress: TypeAlias = Callable[[str, int, int], object]


class Trusted(str):
    """Text of the program's own, such as a template's words: special tokens that it spells become those tokens. In any other
    text, what a user wrote, they stay harmless letters."""


#: What a request starts with: a text; parts of one, which are encoded as a whole; or token ids.
Prompt: TypeAlias = str | Sequence[str] | Iterable[int]


def take_text(call: Callable[..., object], *arguments: Any) -> str:
    """The text that a function of the library makes and hands over."""
    text, length = C.c_void_p(), C.c_uint64()
    call(*arguments, C.byref(text), C.byref(length))
    try:
        return C.string_at(text, length.value).decode(errors="replace")
    finally:
        lib.alia_text_free(text)


def take_ids(call: Callable[..., object], *arguments: Any) -> list[int]:
    ids, count = C.POINTER(C.c_int32)(), C.c_uint64()
    call(*arguments, C.byref(ids), C.byref(count))
    try:
        return ids[: count.value]
    finally:
        lib.alia_ids_free(ids)


class Model:
    """An immutable model: a GGUF file, a directory as model hubs lay them out, or a .safetensors file with config.json beside
    it. It may be used from any thread, by several engines at once.

    device   "auto", "cpu", "cpu:base", "ref", "cuda:0", ...; None: the environment's ALIA_DEVICE, else auto
    threads  of CPU devices; 0: what the machine and the control group allow
    load     "all"; "text": the tokenizer alone, also from its own file; "headers": all but the weights, for `info`
    progress called with the phase, the bytes done and their total; None: a bar of tqdm's, where tqdm is installed and
             standard error is a terminal; False: nothing. What it raises ends the load, as Ctrl-C does.

    Errors are alia.Error with file, tensor and byte. `close`, or `with`, frees the memory once its engines are closed too;
    otherwise that happens when nothing refers to the model any more.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        device: str | None = None,
        threads: int = 0,
        load: Literal["all", "text", "headers"] = "all",
        pin_threads: bool = False,
        progress: Progress | Literal[False] | None = None,
    ) -> None:
        name = os.fsencode(path)
        self._own(
            lambda options, handle: lib.alia_model_open(name, len(name), options, handle),
            progress, _options(device, threads, load, pin_threads),
        )

    @classmethod
    def from_files(
        cls,
        files: Mapping[str, bytes],
        *,
        device: str | None = None,
        threads: int = 0,
        pin_threads: bool = False,
        progress: Progress | Literal[False] | None = None,
    ) -> "Model":
        """A model whose files are in memory: those of a directory by name, or a single GGUF file."""
        array = (_c.MemoryFile * len(files))()
        for at, (name, data) in enumerate(files.items()):
            text = name.encode()
            array[at] = _c.MemoryFile(name=text, name_length=len(text), bytes=data, length=len(data))
        self = cls.__new__(cls)
        self._own(
            lambda options, handle: lib.alia_model_open_memory(array, len(files), options, handle),
            progress, _options(device, threads, "all", pin_threads),
        )
        return self

    def _own(self, call: Callable[[Any, Any], object], progress: Progress | Literal[False] | None, options: _c.ModelOptions) -> None:
        handle = C.c_void_p()
        with watch("loading", progress) as callback:
            options.progress = callback
            call(C.byref(options), C.byref(handle))
        self._handle = handle
        self._close = weakref.finalize(self, lib.alia_model_free, handle)

    def close(self) -> None:
        """Frees it; engines that are open go on. Closing twice is fine."""
        self._close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def info(self) -> dict[str, Any]:
        """What the model is: "name", "architecture", "layers", "context", "parameters", "weights", "device", ..."""
        info: dict[str, Any] = json.loads(take_text(lib.alia_model_info, self._handle))
        return info

    def encode(self, text: str | Sequence[str], *, add_special: bool = True) -> list[int]:
        """The tokens of a text, or of parts that form one. Parts of type alia.Trusted may spell special tokens. With
        `add_special` also what the tokenizer adds around a text, such as a first <s>."""
        parts = [text] if isinstance(text, str) else text
        array = (_c.TextPart * len(parts))()
        for at, part in enumerate(parts):
            data = part.encode()
            kind = _c.PART_TRUSTED if isinstance(part, Trusted) else _c.PART_LITERAL
            array[at] = _c.TextPart(kind=kind, text=data, length=len(data))
        flags = _c.ENCODE_ADD_SPECIAL if add_special else 0
        return take_ids(lib.alia_model_encode, self._handle, array, len(parts), flags)

    def decode(self, ids: Iterable[int], *, keep_special: bool = False) -> str:
        """The text of these tokens; special ones are left out unless `keep_special`. Bytes that are no UTF-8 become U+FFFD."""
        given = array("i", ids)
        flags = _c.DECODE_KEEP_SPECIAL if keep_special else 0
        return take_text(lib.alia_model_decode, self._handle, given.buffer_info()[0], len(given), flags)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token adds to a text, which need not be whole UTF-8."""
        text, length = C.c_void_p(), C.c_uint64()
        lib.alia_model_token_bytes(self._handle, token, C.byref(text), C.byref(length))
        return C.string_at(text, length.value)

    def token(self, text: str) -> int | None:
        """The token that is written exactly so, special or not."""
        data, token = text.encode(), C.c_int32()
        try:
            lib.alia_model_token_find(self._handle, data, len(data), C.byref(token))
        except NotFound:
            return None
        return token.value

    @cached_property
    def vocabulary(self) -> int:
        """How many tokens the tokenizer knows. Rows of logits may be longer."""
        size = C.c_int32()
        lib.alia_model_vocabulary(self._handle, C.byref(size))
        return size.value

    @cached_property
    def bos(self) -> int | None:
        """The token that starts a text."""
        token = C.c_int32()
        lib.alia_model_bos(self._handle, C.byref(token))
        return token.value if token.value >= 0 else None

    @cached_property
    def eos(self) -> tuple[int, ...]:
        """The tokens that end a generation."""
        tokens, count = C.POINTER(C.c_int32)(), C.c_uint64()
        lib.alia_model_eos(self._handle, C.byref(tokens), C.byref(count))
        return tuple(tokens[: count.value])

    # ---- Conversations

    def render_chat(self, messages: Sequence[Message], **options: Unpack[ChatOptions]) -> str:
        """The text that the checkpoint's chat template makes of messages; without one it is ChatML, where the vocabulary
        has it. To look at: encode_chat alone keeps what users wrote apart. Options are those of alia.ChatOptions."""
        text, length, struct = chat_arguments(messages, options)
        return take_text(lib.alia_chat_render, self._handle, text, length, C.byref(struct))

    def encode_chat(self, messages: Sequence[Message], **options: Unpack[ChatOptions]) -> list[int]:
        """The same as tokens. No byte of messages, tools or variables is ever part of a special token."""
        text, length, struct = chat_arguments(messages, options)
        return take_ids(lib.alia_chat_encode, self._handle, text, length, C.byref(struct))

    @cached_property
    def chat_stops(self) -> tuple[int, ...]:
        """The tokens that end an assistant's turn, beside `eos`: for `stop`."""
        return tuple(take_ids(lib.alia_chat_stops, self._handle))

    def _ids(self, prompt: Prompt, add_special: bool) -> "array[int]":
        if isinstance(prompt, str):
            return array("i", self.encode(prompt, add_special=add_special))
        given: list[Any] = list(prompt)
        if given and isinstance(given[0], str):
            given = self.encode(given, add_special=add_special)
        return array("i", given)


def plan(path: str | os.PathLike[str], *, device: str | None = None, threads: int = 0, **engine: Any) -> dict[str, Any]:
    """What opening this model and an engine on it, with the options of alia.Engine, would take of memory, from the files'
    headers alone: "device", "items" (each "name" and "bytes"), "total", "available" (0: unknown) and "fits"."""
    from ._engine import engine_options

    name = os.fsencode(path)
    options = _options(device, threads, "all", False)
    planned: dict[str, Any] = json.loads(
        take_text(lib.alia_plan, name, len(name), C.byref(options), C.byref(engine_options(**engine)))
    )
    return planned


def _options(device: str | None, threads: int, load: str, pin_threads: bool) -> _c.ModelOptions:
    loads = {"all": _c.LOAD_ALL, "text": _c.LOAD_TEXT, "headers": _c.LOAD_HEADERS}
    if load not in loads:
        raise ValueError(f"load is {load!r}; it may be {', '.join(loads)}")
    name = (device or "").encode()
    flags = _c.MODEL_PIN_THREADS if pin_threads else 0
    return _c.ModelOptions(load=loads[load], device=name, device_length=len(name), threads=threads, flags=flags)
