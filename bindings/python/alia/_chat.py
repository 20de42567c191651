"""Questions in the model's chat format: ChatML where its vocabulary has <|im_start|> and <|im_end|>."""
import ctypes as C
import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import _c
from ._c import lib
from ._model import Model, Trusted, take_ids
from ._options import RequestOptions


def chat_prompt(model: Model, question: str, system: str | None, last: int | None, options: RequestOptions) -> list[str]:
    """The parts of the prompt that follows the token `last`, or nothing; its end token joins the options' `stop`. What the
    user wrote never becomes a special token."""
    end = model.token("<|im_end|>")
    if end is None or model.token("<|im_start|>") is None:
        if system is not None:
            raise ValueError("a system message needs a vocabulary with <|im_start|> and <|im_end|>; this one lacks them")
        return [question]
    stop = options.get("stop", ())
    options["stop"] = [*([stop] if isinstance(stop, (str, int)) else stop), end]
    parts: list[str] = []
    if last is not None:
        parts.append(Trusted("\n" if last == end else "<|im_end|>\n"))
    for role, text in (("system", system), ("user", question)):
        if text is not None:
            parts += [Trusted(f"<|im_start|>{role}\n"), text, Trusted("<|im_end|>\n")]
    return [*parts, Trusted("<|im_start|>assistant\n")]


def conversation(
    model: Model, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any] | None = None
) -> list[int]:
    """The tokens of messages, each with a "role" and a "content", up to where the assistant's next turn begins, as the
    checkpoint's chat template, which gets the variables too, writes them. What messages say never becomes a special
    token."""
    data, more = json.dumps(messages).encode(), json.dumps(variables or {}).encode()
    options = _c.ChatOptions(end=_c.CHAT_ANSWER, variables=more, variables_length=len(more))
    return take_ids(lib.alia_chat_encode, model._handle, data, len(data), C.byref(options))


def turn_ends(model: Model) -> list[int]:
    """The tokens that end an assistant's turn, beside the model's own end tokens."""
    return take_ids(lib.alia_chat_stops, model._handle)
