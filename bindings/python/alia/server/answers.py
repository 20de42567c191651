"""What was generated, in the objects of OpenAI's two interfaces: whole, or in chunks."""
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from .._dispatch import End, Item, Token
from .._errors import InvalidArgument
from .._model import Model
from .errors import encoded
from .fields import Asked
from .stream import event

_finish = {"stop": "stop", "length": "length", "context": "length"}


@dataclass
class Choice:
    """What has come of a choice and was not yet written, and what is known of it in all."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: str | None = None
    count: int = 0  #: tokens
    cached: int = 0  #: tokens of the prompt
    offset: int = 0  #: characters of the tokens that were written
    frame: tuple[bytes, bytes] | None = None  #: of an event that tells its text and nothing else, what is around that


class Answers(ABC):
    """The choices of one answer. `take` gathers what comes for `whole`; `events` writes it at once."""

    prefix: str
    whole_object: str
    chunk_object: str

    def __init__(self, model: Model, name: str, asked: Asked) -> None:
        self.model, self.asked = model, asked
        self.head: dict[str, Any] = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        self._head = encoded({"object": self.chunk_object} | self.head)[:-1]  # of every chunk
        self.choices = [Choice() for _ in range(asked.n * len(asked.requests))]

    def take(self, came: list[tuple[int, Item]]) -> None:
        for number, item in came:
            choice = self.choices[number]
            choice.text += item.text
            if isinstance(item, End):
                choice.finish, choice.cached = _finish[item.finish], item.cached_tokens
            else:
                choice.count += 1
                if self.asked.logprobs >= 0:
                    choice.tokens.append(item)

    def usage(self) -> dict[str, Any]:
        prompt, generated = self.asked.prompt_tokens, sum(choice.count for choice in self.choices)
        cached = sum(choice.cached for choice in self.choices[:: self.asked.n])
        return {
            "prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def whole(self) -> dict[str, Any]:
        choices = [self._common(i) | self._whole(choice) for i, choice in enumerate(self.choices)]
        return {"object": self.whole_object, **self.head, "choices": choices, "usage": self.usage()}

    def opening(self) -> bytes:
        """Events that come before anything is generated."""
        return b""

    def events(self, came: list[tuple[int, Item]]) -> bytes:
        """Takes it, and tells of it."""
        self.take(came)
        return b"".join(self._event(number) for number in dict.fromkeys(number for number, _ in came))

    def _event(self, number: int) -> bytes:
        choice = self.choices[number]
        if choice.tokens or choice.finish:
            written = self._chunk(self._common(number) | self._part(choice))
        elif choice.text:
            before, after = choice.frame = choice.frame or self._frame(number)
            written = before + encoded(choice.text) + after
        else:
            return b""
        choice.text, choice.tokens = "", []
        return written

    def _frame(self, number: int) -> tuple[bytes, bytes]:
        before, _, after = self._chunk(self._common(number) | self._part(Choice("\0"))).rpartition(encoded("\0"))
        return before, after

    def closing(self) -> bytes:
        return event(self._head + b',"choices":[],"usage":' + encoded(self.usage()) + b"}") if self.asked.usage else b""

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        return event(self._head + b',"choices":[' + encoded(choice) + (b'],"usage":null}' if self.asked.usage else b"]}"))

    def _common(self, number: int) -> dict[str, Any]:
        choice = self.choices[number]
        logprobs = self._logprobs(choice) if choice.tokens else None
        return {"index": number, "logprobs": logprobs, "finish_reason": choice.finish}

    def _bytes(self, token: int) -> bytes:
        try:
            return self.model.token_bytes(token)
        except InvalidArgument:  # rows of logits may be longer than the vocabulary
            return b""

    def _name(self, token: int) -> str:
        return self._bytes(token).decode(errors="replace")

    @abstractmethod
    def _whole(self, choice: Choice) -> dict[str, Any]: ...

    @abstractmethod
    def _part(self, choice: Choice) -> dict[str, Any]: ...

    @abstractmethod
    def _logprobs(self, choice: Choice) -> dict[str, Any]: ...


class ChatAnswers(Answers):
    prefix, whole_object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def opening(self) -> bytes:
        start = {"logprobs": None, "finish_reason": None, "delta": {"role": "assistant", "content": ""}}
        return b"".join(self._chunk({"index": i} | start) for i in range(len(self.choices)))

    def _whole(self, choice: Choice) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": choice.text, "refusal": None}}

    def _part(self, choice: Choice) -> dict[str, Any]:
        return {"delta": {"content": choice.text} if choice.text else {}}

    def _logprobs(self, choice: Choice) -> dict[str, Any]:
        def one(token: int, logprob: float) -> dict[str, Any]:
            return {"token": self._name(token), "logprob": logprob, "bytes": list(self._bytes(token))}

        content = [one(t.token, t.logprob) | {"top_logprobs": [one(*best) for best in t.top]} for t in choice.tokens]
        return {"content": content, "refusal": None}


class TextAnswers(Answers):
    prefix, whole_object, chunk_object = "cmpl", "text_completion", "text_completion"

    def _whole(self, choice: Choice) -> dict[str, Any]:
        return {"text": choice.text}

    _part = _whole

    def _logprobs(self, choice: Choice) -> dict[str, Any]:
        names, offsets = [self._name(t.token) for t in choice.tokens], []
        for name in names:
            offsets.append(choice.offset)
            choice.offset += len(name)
        top = [{self._name(token): logprob for token, logprob in t.top} for t in choice.tokens]
        return {
            "tokens": names, "token_logprobs": [t.logprob for t in choice.tokens],
            "top_logprobs": top if self.asked.logprobs else None, "text_offset": offsets,
        }
