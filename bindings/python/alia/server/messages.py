"""A conversation in OpenAI's form, as the checkpoint's chat template takes it."""
import json
from typing import Any

from .._errors import Error, Status
from .._model import Model
from .errors import APIError
from .limits import no_constant
from .schema import Refused

Json = dict[str, Any]

#: With the template's words.
_template_refuses = {Status.INVALID_ARGUMENT, Status.MALFORMED, Status.UNSUPPORTED, Status.NOT_FOUND, Status.LIMIT}

#: Fields of messages that the template may leave out, and whose.
_shown = (("name", ("system", "user", "assistant")), ("tool_calls", ("assistant",)))


def encoded(body: Json, model: Model) -> list[int]:
    """The tokens of the conversation in a body that follows its schema. What the template does not show is refused."""
    messages = [_message(given, f"messages[{at}]") for at, given in enumerate(body["messages"])]
    tools = body.get("tools", [])
    if "tool_choice" in body and not tools:
        raise Refused("tool_choice", "needs tools")
    if body.get("tool_choice") == "none":
        tools = []

    def tokens(messages: list[Json], tools: list[Json]) -> list[int]:
        try:
            return model.encode_chat(messages, tools=tools, variables=body.get("chat_template_kwargs", {}))
        except Error as error:
            if error.status not in _template_refuses:
                raise
            raise APIError(400, "chat_template", str(error), "messages") from None

    ids = tokens(messages, tools)

    def check_shown(path: str, messages: list[Json], tools: list[Json]) -> None:
        try:
            hidden = tokens(messages, tools) == ids
        except APIError:
            hidden = False
        if hidden:
            raise Refused(path, "is nothing that this model's chat template shows", "unsupported_field")

    if tools:
        check_shown("tools", messages, [])
    for field, role in _shown:
        if having := [at for at, message in enumerate(messages) if field in message and message["role"] in role]:
            less = [{name: m[name] for name in m if name != field or m["role"] not in role} for m in messages]
            check_shown(f"messages[{having[0]}].{field}", less, tools)
    return ids


def _message(given: Json, path: str) -> Json:
    role = "system" if given["role"] == "developer" else given["role"]
    for field, owner in (("tool_calls", "assistant"), ("tool_call_id", "tool")):
        if field in given and role != owner:
            raise Refused(f"{path}.{field}", f"belongs to a message whose role is {owner}")
    if "content" not in given and "tool_calls" not in given:
        raise Refused(f"{path}.content", "is missing", "missing_field")
    message = given | {"role": role, "content": _text(given["content"]) if "content" in given else None}
    if "tool_calls" in given:
        calls = enumerate(given["tool_calls"])
        message["tool_calls"] = [_call(one, f"{path}.tool_calls[{at}].function.arguments") for at, one in calls]
    return message


def _text(content: str | list[dict[str, str]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _call(given: Json, path: str) -> Json:
    """With the arguments as an object, as templates take them."""
    function = given["function"]
    try:
        arguments = json.loads(function["arguments"], parse_constant=no_constant)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise Refused(path, "must be the text of a JSON object")
    return given | {"type": "function", "function": function | {"arguments": arguments}}
