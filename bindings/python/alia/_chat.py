"""Questions in the model's chat format: ChatML where its vocabulary has <|im_start|> and <|im_end|>."""
from collections.abc import Iterable, Mapping

from ._model import Model, Trusted
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


def conversation(model: Model, messages: Iterable[Mapping[str, str]]) -> tuple[list[int], list[int]]:
    """The tokens of messages, each with a "role" and a "content", up to where the assistant's next turn begins; and those
    that end this turn. What messages say never becomes a special token. ValueError where the model has no chat format."""
    end = model.token("<|im_end|>")
    if end is None or model.token("<|im_start|>") is None:
        raise ValueError("a conversation needs a vocabulary with <|im_start|> and <|im_end|>; this one lacks them")
    parts: list[str] = []
    for message in messages:
        parts += [Trusted(f"<|im_start|>{message['role']}\n"), message["content"], Trusted("<|im_end|>\n")]
    return model.encode([*parts, Trusted("<|im_start|>assistant\n")]), [end]
