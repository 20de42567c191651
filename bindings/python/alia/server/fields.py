"""From the fields of a body, already checked against its schema, to requests of the engine."""
import secrets
from array import array
from dataclasses import dataclass
from typing import Any

from .._answers import Prepared
from .._engine import Engine
from .._options import request_options
from .errors import APIError
from .limits import Limits
from .messages import encoded

_same_name = (
    "max_tokens temperature top_p top_k min_p repetition_penalty frequency_penalty presence_penalty min_tokens "
    "ignore_eos"
).split()


@dataclass
class Asked:
    """Requests that answer one body, and how the answer is to be written."""

    requests: list[Prepared]
    n: int  #: choices for each
    logprobs: int  #: -1: none; else of so many best tokens beside the chosen one
    stream: bool
    usage: bool  #: at the end of the stream

    @property
    def prompt_tokens(self) -> int:
        return sum(len(request.ids) for request in self.requests)


def chat(body: dict[str, Any], engine: Engine, context: int, limits: Limits, salt: str) -> Asked:
    if "max_completion_tokens" in body:
        if body.setdefault("max_tokens", body["max_completion_tokens"]) != body["max_completion_tokens"]:
            differ = "max_tokens and max_completion_tokens differ."
            raise APIError(400, "invalid_value", differ, "max_completion_tokens")
    wanted = body.get("logprobs", False)
    if "top_logprobs" in body and not wanted:
        raise APIError(400, "invalid_value", "top_logprobs needs logprobs to be true.", "top_logprobs")
    ids = encoded(body, engine.model)
    logprobs = body.get("top_logprobs", 0) if wanted else -1
    return _asked(body, [array("i", ids)], list(engine.model.chat_stops), logprobs, context, limits, salt)


def completion(body: dict[str, Any], engine: Engine, context: int, limits: Limits, salt: str) -> Asked:
    body.setdefault("max_tokens", 16)
    every = prompts(body["prompt"], "prompt", engine, limits)
    return _asked(body, every, [], body.get("logprobs", -1), context, limits, salt)


def prompts(given: Any, field: str, engine: Engine, limits: Limits) -> "list[array[int]]":
    """The token ids of a text, of ids, or of a list of either."""
    if isinstance(given, str) or isinstance(given[0], int):
        given = [given]
    if len(given) > limits.prompts:
        many = f"{field} holds {len(given)} prompts; {limits.prompts} are allowed."
        raise APIError(400, "too_many_prompts", many, field)
    every, vocabulary = [engine.model._ids(one, add_special=True) for one in given], engine.model.info["vocabulary"]
    for ids in every:
        if not ids:
            raise APIError(400, "invalid_value", f"{field} has no tokens.", field)
        if max(ids) >= vocabulary:
            unknown = f"{field} has token {max(ids)}; the vocabulary has {vocabulary}."
            raise APIError(400, "invalid_value", unknown, field)
    return every


def fit(ids: "array[int]", more: int, context: int, field: str) -> None:
    if len(ids) + more > context:
        raise APIError(
            400, "context_length_exceeded",
            f"This model's context has {context} tokens; the prompt has {len(ids)}"
            + (f" and max_tokens asks for {more} more." if more > 1 else "."), field,
        )


def _asked(
    body: dict[str, Any], every: "list[array[int]]", stops: list[int], logprobs: int, context: int, limits: Limits,
    salt: str,
) -> Asked:
    if "stream_options" in body and not body.get("stream"):
        raise APIError(400, "invalid_value", "stream_options needs stream to be true.", "stream_options")
    if limits.tokens and body.get("max_tokens", 0) > limits.tokens:
        many = f"max_tokens is {body['max_tokens']}; {limits.tokens} are allowed."
        raise APIError(400, "too_many_tokens", many, "max_tokens")
    for ids in every:
        fit(ids, body.get("max_tokens", 1), context, "messages" if "messages" in body else "prompt")
    options = {name: body[name] for name in _same_name if name in body}
    if limits.tokens:
        options.setdefault("max_tokens", limits.tokens)
    stop = body.get("stop", [])
    options |= {
        "stop": [*([stop] if isinstance(stop, str) else stop), *body.get("stop_token_ids", []), *stops],
        "bias": {int(token): bias for token, bias in body.get("logit_bias", {}).items()},
        "seed": body["seed"] if "seed" in body else secrets.randbits(63),
        "deadline": limits.seconds,
        "salt": salt,
        "logprobs": logprobs,
    }
    n = body.get("n", 1)

    def prepared(ids: "array[int]") -> Prepared:
        struct = request_options(options)
        struct.completions = n
        return Prepared(ids, struct)

    usage = body.get("stream_options", {}).get("include_usage", False)
    return Asked([prepared(ids) for ids in every], n, logprobs, body.get("stream", False), usage)
