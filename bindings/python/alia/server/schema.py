"""The bodies of requests as JSON Schema: what openapi.py publishes is what `checked` enforces. Fields that are not here
are refused by name; null is the same as leaving a field out."""
import difflib
import re
from typing import Any, TypeAlias

from .errors import APIError

Schema: TypeAlias = dict[str, Any]


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _integer(low: int, high: int, about: str) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, "description": about}


def _number(low: float, high: float, about: str) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high, "description": about}


def _list(items: Schema, most: int) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


_boolean: Schema = {"type": "boolean"}
_text: Schema = {"type": "string"}
_token = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_tokens = _list(_token, 1 << 20)
_texts = [_text, _list(_text, 1024), _tokens, _list(_tokens, 1024)]
_model = {"type": "string", "description": "The id that /v1/models gives; may be left out"}

_generating: dict[str, Schema] = {
    "model": _model,
    "max_tokens": _integer(1, 2**31 - 1, "Tokens to generate for a choice"),
    "temperature": _number(0, 100, "0: always the best token; by default the checkpoint's, as with what follows"),
    "top_p": _number(0, 1, "The smallest set of best tokens whose probability reaches it; 1: off"),
    "top_k": _integer(0, 2**31 - 1, "The best so many tokens; 0: off"),
    "min_p": _number(0, 1, "Tokens of at least this share of the best one's probability; 0: off"),
    "repetition_penalty": _number(0.01, 100, "Divides positive logits of tokens seen so far; 1: off"),
    "frequency_penalty": _number(-100, 100, "Taken off once for each time that the token was generated"),
    "presence_penalty": _number(-100, 100, "Taken off once if it was generated"),
    "logit_bias": {
        "type": "object", "propertyNames": {"pattern": "^[0-9]{1,9}$"}, "maxProperties": 4096,
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        "description": "Added to the logits of these token ids",
    },
    "seed": _integer(-(2**63), 2**63 - 1, "The same seed gives the same answer; otherwise one is drawn"),
    "n": _integer(1, 128, "Choices for each prompt; number i is drawn with seed + i"),
    "stop": {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": 1024},
            _list({"type": "string", "minLength": 1, "maxLength": 1024}, 64),
        ],
        "description": "Texts that end the answer and are not shown",
    },
    "stop_token_ids": _list(_token, 64) | {"description": "Tokens that end the answer"},
    "min_tokens": _integer(0, 2**31 - 1, "Until so many are generated, nothing ends the answer"),
    "ignore_eos": _boolean | {"description": "The model's end tokens do not end it"},
    "stream": _boolean,
    "stream_options": _object([], include_usage=_boolean) | {"description": "With stream only"},
    "store": {"const": False},
}

_content = {
    "anyOf": [_text, _list(_object(["type", "text"], type={"const": "text"}, text=_text), 256)],
    "description": "A text, or parts that form one",
}
_function = _object(
    ["name"],
    name=_text, description=_text, parameters={"type": "object", "description": "A JSON Schema"},
    strict={"const": False},
)
_tool = _object(["type", "function"], type={"const": "function"}, function=_function)
_call = _object(
    ["function"],
    id=_text, type={"const": "function"},
    function=_object(["name", "arguments"], name=_text, arguments=_text | {"description": "A JSON object, as text"}),
)
_message = _object(
    ["role"],
    role={"enum": ["system", "developer", "user", "assistant", "tool"]},
    content=_content | {"description": "A text, or parts that form one; may be missing only beside tool_calls"},
    name=_text | {"description": "Where the chat template shows it"},
    tool_calls=_list(_call, 256) | {"description": "Of an assistant's message"},
    tool_call_id=_text | {"description": "Of a tool's message"},
)
_messages = _list(_message, 2048)

CHAT = _object(
    ["messages"],
    messages=_messages,
    **_generating,
    chat_template_kwargs={"type": "object", "description": "Variables for the chat template"},
    tools=_list(_tool, 512) | {"description": "What the chat template tells the model; its answer stays text"},
    tool_choice={"enum": ["auto", "none"], "description": "none: the model is not told of the tools"},
    max_completion_tokens=_integer(1, 2**31 - 1, "The same as max_tokens"),
    logprobs=_boolean | {"description": "Log-probabilities of the answer's tokens"},
    top_logprobs=_integer(0, 20, "Also of so many best tokens at each place; with logprobs only"),
    response_format={"const": {"type": "text"}},
    modalities={"const": ["text"]},
)
COMPLETION = _object(
    ["prompt"],
    prompt={"anyOf": _texts, "description": "A text, token ids, or a list of either"},
    **_generating,
    logprobs=_integer(0, 20, "Log-probabilities of the answer's tokens, and of so many best ones at each place"),
    echo={"const": False},
    best_of={"const": 1},
)
EMBEDDING = _object(
    ["input"],
    input={"anyOf": _texts, "description": "A text, token ids, or a list of either"},
    model=_model,
    encoding_format={"enum": ["float", "base64"]},
    pooling={"enum": ["mean", "last"], "description": "How the tokens' states become one; by default their mean"},
)
TOKENIZE = _object(
    ["prompt"],
    prompt=_text,
    model=_model,
    add_special_tokens=_boolean | {"description": "Also what the tokenizer adds, such as a first <s>; by default yes"},
)

_types: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
}
_names = {
    "object": "an object", "array": "a list", "string": "a text", "boolean": "true or false",
    "integer": "a whole number", "number": "a number",
}


class Refused(APIError):
    """The field `path` of the body is not as its schema says."""

    def __init__(self, path: str, what: str, code: str = "invalid_value") -> None:
        super().__init__(400, code, f"{path or 'The body'} {what}.", path or None)


def checked(value: Any, schema: Schema, path: str = "") -> Any:
    """The value, if it follows the schema: without members that are null, and with whole numbers as such, as 1.0 is."""
    if alternatives := schema.get("anyOf"):
        return _any(value, alternatives, path)
    if "const" in schema and (value != schema["const"] or type(value) is not type(schema["const"])):
        raise Refused(path, f"can only be {schema['const']!r} on this server", "unsupported_value")
    if "enum" in schema and value not in schema["enum"]:
        raise Refused(path, f"must be one of {', '.join(schema['enum'])}")
    kind = schema.get("type")
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind and (isinstance(value, bool) is not (kind == "boolean") or not isinstance(value, _types[kind])):
        raise Refused(path, f"must be {_names[kind]}", "invalid_type")
    if kind == "string":
        _check_text(value, schema, path)
    elif kind in ("integer", "number") and not schema["minimum"] <= value <= schema["maximum"]:
        raise Refused(path, f"must be between {schema['minimum']} and {schema['maximum']}")
    elif kind == "array":
        if not schema["minItems"] <= len(value) <= schema["maxItems"]:
            raise Refused(path, f"must have {schema['minItems']} to {schema['maxItems']} elements")
        return [checked(item, schema["items"], f"{path}[{at}]") for at, item in enumerate(value)]
    elif "properties" in schema:
        return _named(value, schema, path)
    elif "propertyNames" in schema:
        return _mapping(value, schema, path)
    return value


def _any(value: Any, alternatives: list[Schema], path: str) -> Any:
    refusals: list[Refused] = []
    for schema in alternatives:
        try:
            return checked(value, schema, path)
        except Refused as refusal:
            refusals.append(refusal)
    if all(refusal.code == "invalid_type" and refusal.param == path for refusal in refusals):
        kinds = dict.fromkeys(_names[schema["type"]] for schema in alternatives)
        raise Refused(path, f"must be {' or '.join(kinds)}", "invalid_type")
    # What the alternative says that fits furthest.
    raise max(refusals, key=lambda r: (len(r.param or ""), r.param or "", r.code != "invalid_type"))


def _check_text(value: str, schema: Schema, path: str) -> None:
    if "minLength" in schema and not schema["minLength"] <= len(value) <= schema["maxLength"]:
        raise Refused(path, f"must have {schema['minLength']} to {schema['maxLength']} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused(path, "holds half of a surrogate pair, which is no character") from None


def _inner(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _mapping(value: dict[str, Any], schema: Schema, path: str) -> dict[str, Any]:
    if len(value) > schema["maxProperties"]:
        raise Refused(path, f"must have at most {schema['maxProperties']} members")
    for name in value:
        if not re.fullmatch(schema["propertyNames"]["pattern"], name, re.ASCII):
            raise Refused(_inner(path, name), "is not a token's id")
    return {name: checked(member, schema["additionalProperties"], _inner(path, name)) for name, member in value.items()}


def _named(value: dict[str, Any], schema: Schema, path: str) -> dict[str, Any]:
    known, given = schema["properties"], {}
    for name in [name for name in value if name in known]:
        if value[name] is not None or name in schema["required"]:
            given[name] = checked(value[name], known[name], _inner(path, name))
    for name in value:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f", which knows {near[0]}" if near else ""
            raise Refused(_inner(path, name), f"is not supported by this server{hint}", "unsupported_field")
    for name in schema["required"]:
        if name not in given:
            raise Refused(_inner(path, name), "is missing", "missing_field")
    return given
