"""Answers: whole, or as streams of text."""
import asyncio
import queue
from abc import ABC, abstractmethod
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Unpack, cast

from . import _c
from ._chat import ChatEnd, ChatOptions, Message
from ._dispatch import Dispatcher, End, Item, Request, Token, Visit
from ._errors import NotFound
from ._model import Model, Prompt
from ._options import LogitsHook, RequestOptions, request_options


@dataclass
class Completion:
    """An answer, or what there is of it so far."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None  #: "stop", "length", "context", "cancelled" or "deadline"; None: it goes on
    logprobs: list[float] = field(default_factory=list)  #: natural logarithms, of each token; with `logprobs` only
    top: list[list[tuple[int, float]]] = field(default_factory=list)  #: the best tokens at each place, with theirs
    prompt_tokens: int = 0
    cached_tokens: int = 0  #: of the prompt, whose pages were in the cache already

    def _take(self, item: Item, logprobs: bool) -> str:
        self.text += item.text
        if isinstance(item, Token):
            self.tokens.append(item.token)
            if logprobs:
                self.logprobs.append(item.logprob)
                self.top.append(item.top)
        else:
            self.finish, self.prompt_tokens, self.cached_tokens = item.finish, item.prompt_tokens, item.cached_tokens
        return item.text


@dataclass
class Prepared:
    """A request, ready to be submitted."""

    ids: "array[int]"
    options: _c.RequestOptions
    visit: Visit | None = None
    hook: LogitsHook | None = None
    conversation: list[dict[str, Any]] | None = None  #: up to the message that the answer writes; of a sequence

    def request(self, deliver: Callable[[Item], object], loop: asyncio.AbstractEventLoop | None = None) -> Request:
        return Request(deliver, self.options.completions, self.visit, self.hook, loop)


class AskOptions(RequestOptions, ChatOptions, total=False):
    """Keyword arguments of questions: a request's and a conversation's."""


Submit: TypeAlias = Callable[[Prepared, Request], Dispatcher]


class Gathered:
    """What has come of a request."""

    def __init__(self, completions: int, logprobs: bool) -> None:
        self.completions = [Completion() for _ in range(completions)]
        self.logprobs, self.left = logprobs, completions

    def take(self, item: Item) -> str:
        if isinstance(item, End):
            if item.error:
                raise item.error
            self.left -= 1
        return self.completions[item.completion]._take(item, self.logprobs)


class Stream(Iterator[str]):
    """The pieces of an answer as they come: whole characters, never empty. The request runs from the start, whether or not
    pieces are taken; `close`, leaving a `with` block, an exception such as Ctrl-C's, or forgetting the stream cancels it. For
    one thread at a time."""

    def __init__(self, submit: Submit, prepared: Prepared) -> None:
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._gathered = Gathered(prepared.options.completions, prepared.options.top_tokens >= 0)
        self._request = prepared.request(self._items.put)
        self._dispatcher = submit(prepared, self._request)

    @property
    def completion(self) -> Completion:
        """The answer so far, and once the stream has ended why it did."""
        return self._gathered.completions[0]

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> str:
        while self._gathered.left:
            if piece := self._take():
                return piece
        raise StopIteration

    def _take(self) -> str:
        try:
            return self._gathered.take(self._items.get())
        except BaseException:
            self.close()
            raise

    def _all(self) -> list[Completion]:
        while self._gathered.left:
            self._take()
        return self._gathered.completions

    def close(self) -> None:
        """Cancels the request. Never waits."""
        self._gathered.left = 0
        if not self._request.over.is_set():
            self._dispatcher.cancel(self._request)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_dispatcher"):
            self.close()


class AsyncStream(AsyncIterator[str]):
    """The same for asyncio. The request starts with the first piece that is awaited; cancelling the task that awaits one
    cancels it."""

    def __init__(self, submit: Submit, prepare: Callable[[], Prepared], n: int, logprobs: bool) -> None:
        self._submit, self._prepare = submit, prepare
        self._gathered = Gathered(n, logprobs)
        self._request: Request | None = None

    @property
    def completion(self) -> Completion:
        """The answer so far, and once the stream has ended why it did."""
        return self._gathered.completions[0]

    def __aiter__(self) -> "AsyncStream":
        return self

    async def __anext__(self) -> str:
        while self._gathered.left:
            if piece := await self._take():
                return piece
        raise StopAsyncIteration

    async def _start(self) -> None:
        prepared = await asyncio.to_thread(self._prepare)
        self._items: asyncio.Queue[Item] = asyncio.Queue()
        request = prepared.request(self._items.put_nowait, asyncio.get_running_loop())
        self._dispatcher = self._submit(prepared, request)
        self._request = request

    async def _take(self) -> str:
        try:
            if not self._request:
                await self._start()
            return self._gathered.take(await self._items.get())
        except BaseException:
            self.close()
            raise

    async def _all(self) -> list[Completion]:
        while self._gathered.left:
            await self._take()
        return self._gathered.completions

    def close(self) -> None:
        """Cancels the request. Never waits."""
        self._gathered.left = 0
        if self._request and not self._request.over.is_set():
            self._dispatcher.cancel(self._request)

    async def aclose(self) -> None:
        self.close()

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Answering(ABC):
    """What an engine, and a sequence, can be asked. Prompts are texts, parts of texts, or token ids (alia.Prompt); options are
    those of alia.RequestOptions.

    Questions are written as the checkpoint's chat template has it; without one as ChatML, where the vocabulary has it,
    else a question alone is a prompt as it stands. In a question's place may stand messages, the whole conversation.
    Questions also take the options of alia.ChatOptions.

    `logits_hook(logits, tokens)` is called before each token is drawn, with the row of logits that the model gave and the
    tokens that were generated so far, and returns the logits to draw from, or None for the model's own. `logits` is the
    library's memory itself: read-only, and valid until the hook returns. `logits.copy()` may be changed, kept and returned;
    keeping `logits` itself ends the request with alia.InvalidArgument, and must not be read any more. The hook runs in the
    engine's thread and must not use the engine; what it raises ends the request and is raised where its answer is awaited."""

    model: Model

    @abstractmethod
    def _submit(self, prepared: Prepared, request: Request) -> Dispatcher: ...

    @abstractmethod
    def _last(self) -> int | None:
        """The token that a prompt follows. May wait for a step."""

    def _prepare(self, prompt: Prompt, n: int, options: RequestOptions) -> Prepared:
        struct = request_options(options)
        struct.completions = n
        return Prepared(self.model._ids(prompt, self._last() is None), struct, hook=options.get("logits_hook"))

    def _said(self) -> list[dict[str, Any]]:
        """What a question follows."""
        return []

    def _converse(self, prepared: Prepared, messages: list[dict[str, Any]], end: ChatEnd) -> Prepared:
        """The request of a whole conversation made into that of what is new in it. May wait for a step."""
        return prepared

    def _prepare_question(self, question: str | Sequence[Message], system: str | None, options: AskOptions) -> Prepared:
        given: dict[str, Any] = dict(options)
        chat = cast(ChatOptions, {name: given.pop(name) for name in options if name in ChatOptions.__annotations__})
        asked = [{"role": "user", "content": question}] if isinstance(question, str) else [dict(m) for m in question]
        if system is not None:
            asked.insert(0, {"role": "system", "content": system})
        messages = [*self._said(), *asked] if isinstance(question, str) else asked
        try:
            ids = self.model.encode_chat(messages, **chat)
        except NotFound:
            if chat or system is not None or not isinstance(question, str):
                raise
            return self._prepare(question, 1, cast(RequestOptions, given))
        stop = given.get("stop", ())
        given["stop"] = [*([stop] if isinstance(stop, (str, int)) else stop), *self.model.chat_stops]
        prepared = Prepared(array("i", ids), request_options(given), hook=given.get("logits_hook"))
        return self._converse(prepared, messages, chat.get("end", "answer"))

    def _async(self, prepare: Callable[[], Prepared], n: int, options: RequestOptions | AskOptions) -> AsyncStream:
        return AsyncStream(self._submit, prepare, n, options.get("logprobs", -1) >= 0)

    def stream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> Stream:
        """Continues the prompt, piece by piece. Several streams at once are computed together."""
        return Stream(self._submit, self._prepare(prompt, 1, options))

    def complete(self, prompt: Prompt, *, n: int = 1, **options: Unpack[RequestOptions]) -> list[Completion]:
        """Continues the prompt, in n ways: number i is drawn with seed + i."""
        return Stream(self._submit, self._prepare(prompt, n, options))._all()

    def ask_stream(
        self, question: str | Sequence[Message], *, system: str | None = None, **options: Unpack[AskOptions]
    ) -> Stream:
        """Answers a question, or what messages end with, piece by piece."""
        return Stream(self._submit, self._prepare_question(question, system, options))

    def ask(
        self, question: str | Sequence[Message], *, system: str | None = None, **options: Unpack[AskOptions]
    ) -> str:
        """The same as a whole."""
        return "".join(self.ask_stream(question, system=system, **options))

    def astream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> AsyncStream:
        """`stream` for asyncio; likewise the other three."""
        return self._async(lambda: self._prepare(prompt, 1, options), 1, options)

    async def acomplete(self, prompt: Prompt, *, n: int = 1, **options: Unpack[RequestOptions]) -> list[Completion]:
        return await self._async(lambda: self._prepare(prompt, n, options), n, options)._all()

    def aask_stream(
        self, question: str | Sequence[Message], *, system: str | None = None, **options: Unpack[AskOptions]
    ) -> AsyncStream:
        return self._async(lambda: self._prepare_question(question, system, options), 1, options)

    async def aask(
        self, question: str | Sequence[Message], *, system: str | None = None, **options: Unpack[AskOptions]
    ) -> str:
        return "".join([piece async for piece in self.aask_stream(question, system=system, **options)])
