"""Conversations as the library takes them."""
import ctypes as C
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from . import _c

#: "role", "content" (a text, None, or a list of parts), "tool_calls" and whatever else the template takes.
Message: TypeAlias = Mapping[str, Any]
ChatEnd: TypeAlias = Literal["answer", "continue", "closed"]


class ChatOptions(TypedDict, total=False):
    """Keyword arguments of a conversation."""

    tools: Sequence[Mapping[str, Any]]  #: as the template takes them
    variables: Mapping[str, Any]  #: further ones of the template, such as {"enable_thinking": False}
    end: ChatEnd  #: where the assistant's next turn begins; inside the last message, which goes on; or behind its turn
    template: str  #: of several; otherwise "tool_use" where there are tools and such a one, else "default"
    now: int  #: the time that templates may show: seconds since 1970, in their time zone; otherwise the clock's, UTC


def chat_arguments(messages: Sequence[Message], options: ChatOptions) -> tuple[bytes, int, _c.ChatOptions]:
    """A conversation as arguments of the library; the struct keeps alive what it points to."""
    for name in options:
        if name not in ChatOptions.__annotations__:
            raise TypeError(f"conversations have no option {name!r}")
    end, ends = options.get("end", "answer"), get_args(ChatEnd)
    if end not in ends:
        raise ValueError(f"end is {end!r}; it may be {', '.join(ends)}")
    struct = _c.ChatOptions(end=ends.index(end), now=options.get("now", -1))
    if tools := options.get("tools"):
        struct.tools = json.dumps(tools).encode()
        struct.tools_length = len(struct.tools)
    if variables := options.get("variables"):
        struct.variables = json.dumps(variables).encode()
        struct.variables_length = len(struct.variables)
    if template := options.get("template"):
        struct.template_name = template.encode()
        struct.template_name_length = len(struct.template_name)
    text = json.dumps(messages).encode()
    return text, len(text), struct
