"""How a request is answered: keyword arguments to alia_request_options."""
import ctypes as C
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from . import _c

Floats: TypeAlias = npt.NDArray[np.float32]
LogitsHook: TypeAlias = Callable[[Floats, list[int]], Floats | None]


class RequestOptions(TypedDict, total=False):
    """Keyword arguments of every request. What is left out follows the checkpoint's generation_config.json and, where that
    says nothing, is greedy. The same request with the same seed gives the same tokens, whatever runs beside it."""

    max_tokens: int  #: to generate; otherwise until the answer or the context ends
    temperature: float  #: 0: always the best token
    top_p: float  #: the smallest set of best tokens whose probability reaches it
    top_k: int  #: the best so many tokens
    min_p: float  #: tokens of at least this share of the best one's probability
    repetition_penalty: float  #: divides positive logits of tokens seen so far
    frequency_penalty: float  #: taken off once for each time that the token was generated
    presence_penalty: float  #: taken off once if it was generated
    bias: Mapping[int, float]  #: added to the logits of these tokens; -inf forbids
    seed: int
    stop: str | int | Sequence[str | int]  #: texts, which are not shown, and tokens that end the answer
    ignore_eos: bool  #: the model's own end tokens do not end it
    min_tokens: int  #: until so many are generated, nothing ends the answer
    logprobs: int  #: 0: the log-probability of each token; n, up to 20: also of the n best
    logits_hook: LogitsHook  #: see alia.Engine.complete
    priority: int  #: higher ones run first
    deadline: float  #: seconds from now until it ends with "deadline"
    keep_first: int  #: with keep_last: where the context is full, the first and
    keep_last: int  #: the last so many tokens stay and the answer goes on
    share: bool  #: False: pages of the cache are not shared with requests that begin alike
    salt: str  #: pages are shared only with requests of the same salt, a tenant's name, say


_same_name = (
    "max_tokens temperature top_p top_k min_p repetition_penalty frequency_penalty presence_penalty seed min_tokens priority"
).split()


def request_options(given: Mapping[str, Any]) -> _c.RequestOptions:
    """The library's struct; it keeps alive what it points to."""
    for name in given:
        if name not in RequestOptions.__annotations__:
            near = difflib.get_close_matches(name, RequestOptions.__annotations__, 1)
            raise TypeError(f"there is no option {name!r}" + (f"; is it {near[0]!r}?" if near else ""))
    o = _c.RequestOptions(**{name: given[name] for name in _same_name if given.get(name) is not None})
    if given.get("logprobs") is not None:
        o.top_tokens = given["logprobs"]
    if given.get("deadline") is not None:
        o.deadline = round(given["deadline"] * 1000)
    o.context_first, o.context_last = given.get("keep_first", 0), given.get("keep_last", 0)
    if given.get("ignore_eos"):
        o.flags |= _c.REQUEST_IGNORE_EOS
    if given.get("logits_hook"):
        o.flags |= _c.REQUEST_CHOOSE
    if not given.get("share", True):
        o.flags |= _c.REQUEST_DO_NOT_SHARE
    if salt := given.get("salt"):
        o.salt = salt.encode()
        o.salt_length = len(salt.encode())
    if bias := given.get("bias"):
        o.bias_token = (C.c_int32 * len(bias))(*bias)
        o.bias = (C.c_float * len(bias))(*bias.values())
        o.bias_count = len(bias)
    _set_stop(o, given.get("stop", ()))
    return o


def _set_stop(o: _c.RequestOptions, stop: str | int | Sequence[str | int]) -> None:
    every = [stop] if isinstance(stop, (str, int)) else list(stop)
    tokens = [s for s in every if isinstance(s, int)]
    texts = [s.encode() for s in every if isinstance(s, str)]
    if len(tokens) + len(texts) != len(every):
        raise TypeError("stop holds something that is neither a text nor a token")
    o.stop = (C.c_int32 * len(tokens))(*tokens)
    o.stop_count = len(tokens)
    o.stop_text = (C.c_char_p * len(texts))(*texts)
    o.stop_text_length = (C.c_uint64 * len(texts))(*map(len, texts))
    o.stop_text_count = len(texts)
