"""The declarations of capi/alia.h for ctypes, and the library. tests/declarations.py holds them against the header.

Calls through ctypes release the GIL. Functions that return a status raise alia.Error where it is not ALIA_OK."""
import ctypes as C
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, ClassVar

ABI_MAJOR, ABI_MINOR = 1, 1

# ---- Enumerators, as the header names them without ALIA_; those of alia_status are alia.Status

LOAD_ALL, LOAD_TEXT, LOAD_HEADERS = range(3)
MODEL_PIN_THREADS = 1
PART_LITERAL, PART_TRUSTED = range(2)
ENCODE_ADD_SPECIAL = 1
DECODE_KEEP_SPECIAL = 1
CHAT_ANSWER, CHAT_CONTINUE, CHAT_CLOSED = range(3)
CACHE_AUTO, CACHE_F32, CACHE_F16, CACHE_BF16, CACHE_Q8_0, CACHE_FP8 = range(6)
REQUEST_IGNORE_EOS = 1
REQUEST_PROMPT_LOGITS = 2
REQUEST_PROMPT_SCORES = 4
REQUEST_NORMALISE = 8
REQUEST_CHOOSE = 16
REQUEST_DO_NOT_SHARE = 32
POOLING_NONE, POOLING_MEAN, POOLING_LAST = range(3)
EVENT_TOKEN, EVENT_LOGITS, EVENT_FINISHED, EVENT_SCORES, EVENT_EMBEDDING, EVENT_CHOICE = range(1, 7)
FINISH_NONE, FINISH_STOP, FINISH_LENGTH, FINISH_CONTEXT, FINISH_CANCELLED, FINISH_DEADLINE, FINISH_ERROR = range(7)

# ---- Structs


class Sized(C.Structure):
    """A struct that starts with its size; a new one holds what its ..._INIT macro says."""

    initial: ClassVar[dict[str, Any]] = {}

    def __init__(self, **fields: Any) -> None:
        super().__init__(size=C.sizeof(self), **{**self.initial, **fields})


class Progress(Sized):
    _fields_ = [("size", c_uint32), ("zero", c_uint32), ("phase", c_char_p), ("done", c_int64), ("total", c_int64)]


ProgressCallback = C.CFUNCTYPE(c_int32, c_void_p, POINTER(Progress))


class ModelOptions(Sized):
    _fields_ = [
        ("size", c_uint32), ("load", c_int32), ("device", c_char_p), ("device_length", c_uint64), ("threads", c_int32),
        ("flags", c_uint32), ("json_bytes", c_uint64), ("progress", ProgressCallback), ("user", c_void_p),
    ]


class MemoryFile(Sized):
    _fields_ = [
        ("size", c_uint32), ("zero", c_uint32), ("name", c_char_p), ("name_length", c_uint64), ("bytes", c_char_p),
        ("length", c_uint64),
    ]


class Reader(Sized):
    _fields_ = [
        ("size", c_uint32), ("zero", c_uint32),
        ("file_size", C.CFUNCTYPE(c_int64, c_void_p, c_void_p, c_uint64)),
        ("read", C.CFUNCTYPE(c_int32, c_void_p, c_void_p, c_uint64, c_int64, c_void_p, c_uint64)),
        ("user", c_void_p),
    ]


class TextPart(Sized):
    _fields_ = [("size", c_uint32), ("kind", c_int32), ("text", c_char_p), ("length", c_uint64)]


class ChatOptions(Sized):
    initial = {"now": -1}
    _fields_ = [
        ("size", c_uint32), ("end", c_int32), ("tools", c_char_p), ("tools_length", c_uint64), ("variables", c_char_p),
        ("variables_length", c_uint64), ("template_name", c_char_p), ("template_name_length", c_uint64), ("now", c_int64),
    ]


class EngineOptions(Sized):
    _fields_ = [
        ("size", c_uint32), ("cache", c_int32), ("context", c_int64), ("chunk", c_int32), ("logit_rows", c_int32),
        ("threads", c_int32), ("sequences", c_int32), ("positions", c_int64), ("queue", c_int32), ("zero", c_uint32),
    ]
    initial = {"context": 4096, "chunk": 256, "logit_rows": 32, "sequences": 16, "queue": 1 << 20}


class RequestOptions(Sized):
    _fields_ = [
        ("size", c_uint32), ("flags", c_uint32), ("max_tokens", c_int64), ("temperature", c_double), ("top_p", c_double),
        ("min_p", c_double), ("repetition_penalty", c_double), ("frequency_penalty", c_double),
        ("presence_penalty", c_double), ("top_k", c_int32), ("stop_count", c_uint32), ("stop", POINTER(c_int32)),
        ("bias_token", POINTER(c_int32)), ("bias", POINTER(c_float)), ("bias_count", c_uint64), ("seed", c_uint64),
        ("min_tokens", c_int64), ("stop_text", POINTER(c_char_p)), ("stop_text_length", POINTER(c_uint64)),
        ("stop_text_count", c_uint64), ("completions", c_int32), ("priority", c_int32), ("top_tokens", c_int32),
        ("pooling", c_int32), ("deadline", c_int64), ("context_first", c_int64), ("context_last", c_int64),
        ("sequence", c_uint64), ("salt", c_char_p), ("salt_length", c_uint64),
    ]
    initial = {
        "max_tokens": -1, "temperature": -1, "top_p": -1, "min_p": -1, "repetition_penalty": -1, "top_k": -1,
        "completions": 1, "top_tokens": -1, "deadline": -1,
    }


class TopToken(C.Structure):
    _fields_ = [("token", c_int32), ("logprob", c_float)]


class Event(Sized):
    _fields_ = [
        ("size", c_uint32), ("kind", c_int32), ("request", c_uint64), ("token", c_int32), ("finish", c_int32),
        ("rows", c_int32), ("completion", c_int32), ("position", c_int64), ("text", c_void_p), ("text_length", c_uint64),
        ("values", c_void_p), ("columns", c_int64), ("prompt_tokens", c_int64), ("generated_tokens", c_int64),
        ("cached_tokens", c_int64), ("top", POINTER(TopToken)), ("message", c_void_p), ("message_length", c_uint64),
        ("top_count", c_uint32), ("logprob", c_float), ("status", c_int32), ("zero", c_uint32),
    ]
    initial = {"token": -1}


class QuantizeOptions(Sized):
    _fields_ = [
        ("size", c_uint32), ("threads", c_int32), ("imatrix", c_char_p), ("imatrix_length", c_uint64),
        ("progress", ProgressCallback), ("user", c_void_p),
    ]


# ---- Functions: the result and the arguments. Handles are c_void_p; so is memory that goes in or out as an address.


class Status(c_int32):
    """alia_status, apart from other numbers."""


text = (c_char_p, c_uint64)
text_out = (POINTER(c_void_p), POINTER(c_uint64))
ids = (c_void_p, c_uint64)
ids_out = (POINTER(POINTER(c_int32)), POINTER(c_uint64))
handle, handle_out = c_void_p, POINTER(c_void_p)
number_out = POINTER(c_uint64)
set_option = (*text, *text)

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "alia_abi_version": (c_uint32,),
    "alia_version": (c_char_p,),
    "alia_abi_check": (Status, c_uint32),
    "alia_error_status": (Status,),
    "alia_error_message": (c_char_p,),
    "alia_error_item": (c_char_p,),
    "alia_error_offset": (c_int64,),
    "alia_error_handle_usable": (c_int32,),
    "alia_status_name": (c_char_p, Status),
    "alia_text_free": (None, c_void_p),
    "alia_ids_free": (None, POINTER(c_int32)),
    "alia_bytes_free": (None, c_void_p),
    "alia_model_open": (Status, *text, POINTER(ModelOptions), handle_out),
    "alia_model_open_memory": (Status, POINTER(MemoryFile), c_uint64, POINTER(ModelOptions), handle_out),
    "alia_model_open_reader": (Status, POINTER(Reader), *text, POINTER(ModelOptions), handle_out),
    "alia_model_options_set": (Status, POINTER(ModelOptions), *set_option),
    "alia_engine_options_set": (Status, POINTER(EngineOptions), *set_option),
    "alia_request_options_set": (Status, POINTER(RequestOptions), *set_option),
    "alia_model_free": (Status, handle),
    "alia_model_info": (Status, handle, *text_out),
    "alia_plan": (Status, *text, POINTER(ModelOptions), POINTER(EngineOptions), *text_out),
    "alia_model_encode": (Status, handle, POINTER(TextPart), c_uint64, c_uint32, *ids_out),
    "alia_model_decode": (Status, handle, *ids, c_uint32, *text_out),
    "alia_model_token_bytes": (Status, handle, c_int32, *text_out),
    "alia_model_token_find": (Status, handle, *text, POINTER(c_int32)),
    "alia_model_vocabulary": (Status, handle, POINTER(c_int32)),
    "alia_model_bos": (Status, handle, POINTER(c_int32)),
    "alia_model_eos": (Status, handle, *ids_out),
    "alia_chat_render": (Status, handle, *text, POINTER(ChatOptions), *text_out),
    "alia_chat_encode": (Status, handle, *text, POINTER(ChatOptions), *ids_out),
    "alia_chat_stops": (Status, handle, *ids_out),
    "alia_engine_open": (Status, handle, POINTER(EngineOptions), handle_out),
    "alia_engine_free": (Status, handle),
    "alia_engine_submit": (Status, handle, *ids, POINTER(RequestOptions), number_out),
    "alia_engine_step": (Status, handle, POINTER(Event), c_uint32, POINTER(c_uint32)),
    "alia_engine_cancel": (Status, handle, c_uint64),
    "alia_engine_choose": (Status, handle, c_uint64, c_int32, c_void_p, c_uint64),
    "alia_engine_idle": (Status, handle, POINTER(c_int32)),
    "alia_engine_start": (Status, handle),
    "alia_engine_next": (Status, handle, POINTER(Event), c_uint32, c_int64, POINTER(c_uint32)),
    "alia_engine_stop": (Status, handle),
    "alia_engine_counters": (Status, handle, *text_out),
    "alia_sequence_new": (Status, handle, number_out),
    "alia_sequence_fork": (Status, handle, c_uint64, number_out),
    "alia_sequence_truncate": (Status, handle, c_uint64, c_int64),
    "alia_sequence_keep": (Status, handle, c_uint64, *ids, number_out),
    "alia_sequence_tokens": (Status, handle, c_uint64, *ids_out),
    "alia_sequence_free": (Status, handle, c_uint64),
    "alia_sequence_save": (Status, handle, c_uint64, *text_out),
    "alia_sequence_restore": (Status, handle, c_char_p, c_uint64, number_out),
    "alia_sequence_save_file": (Status, handle, c_uint64, *text),
    "alia_sequence_restore_file": (Status, handle, *text, number_out),
    "alia_quantize": (Status, *text, *text, *text, POINTER(QuantizeOptions), *text_out),
}


def _open() -> C.CDLL:
    """The library that ALIA_LIBRARY names, else the wheel's own, else the system's."""
    name = f"libalia.so.{ABI_MAJOR}"
    beside = Path(__file__).parent / name
    return C.CDLL(os.environ.get("ALIA_LIBRARY") or (str(beside) if beside.exists() else name))


def _check(status: Status, *_: Any) -> None:
    if status.value:
        from ._errors import last_error

        raise last_error()


lib: Any = _open()
for _name, (_result, *_arguments) in FUNCTIONS.items():
    _function = getattr(lib, _name)
    _function.restype, _function.argtypes = _result, _arguments
    if _result is Status and _name != "alia_error_status":
        _function.errcheck = _check
