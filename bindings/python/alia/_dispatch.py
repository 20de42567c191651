"""The thread that takes an engine's events and hands each to the request that it belongs to."""
import asyncio
import ctypes as C
import threading
import traceback
import weakref
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from . import _c
from ._c import lib
from ._errors import Error, Status, make_error
from ._options import Floats, LogitsHook

FINISHES = "none stop length context cancelled deadline error".split()
capacity = 64  # events taken at once


class Token(NamedTuple):
    completion: int
    text: str
    token: int
    logprob: float
    top: list[tuple[int, float]]


class End(NamedTuple):
    """The end of a completion, or, with an error, of the whole request."""

    completion: int
    text: str
    finish: str
    prompt_tokens: int
    cached_tokens: int
    error: BaseException | None


Item: TypeAlias = Token | End
Visit: TypeAlias = Callable[[int, Floats], object]


class Request:
    """A request that is waiting or running. What comes of it goes to `deliver`, which does not block: on the event loop
    `loop` or, without one, in the dispatcher's thread, which also calls `note` with each item before that, and `visit` and
    `hook` with arrays lent for the call."""

    note: Callable[[Item], object] | None = None

    def __init__(
        self,
        deliver: Callable[[Item], object],
        completions: int = 1,
        visit: Visit | None = None,
        hook: LogitsHook | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.deliver, self.left, self.visit, self.hook, self.loop = deliver, completions, visit, hook, loop
        self.number = 0
        self.tokens: list[list[int]] = [[] for _ in range(completions)]  # generated so far, for the hook
        self.failure: BaseException | None = None
        self.cancelled = False
        self.over = threading.Event()  # the engine is through with it


class Dispatcher:
    def __init__(self, handle: C.c_void_p) -> None:
        self.handle = handle
        self.lock = threading.Lock()  # of `requests`; held while one is submitted, so that its events find it
        self.requests: dict[int, Request] = {}
        self.posts: dict[asyncio.AbstractEventLoop, list[tuple[Request, Item]]] = {}  # that wait until events are handed out
        self.thread = threading.Thread(target=self._run, name="alia", daemon=True)
        try:
            lib.alia_engine_start(handle)
            self.thread.start()
        except BaseException:
            lib.alia_engine_free(handle)
            raise

    def submit(self, ids: "array[int]", options: _c.RequestOptions, request: Request) -> None:
        if threading.current_thread() is self.thread:
            raise RuntimeError("a hook or a visitor must not wait for its own engine, whose thread runs it")
        number = C.c_uint64()
        try:
            with self.lock:
                lib.alia_engine_submit(self.handle, ids.buffer_info()[0], len(ids), C.byref(options), C.byref(number))
                request.number = number.value
                self.requests[number.value] = request
        except BaseException:  # such as Ctrl-C's, once it is submitted
            request.number = number.value
            if request.number:
                self.cancel(request)
            raise

    def cancel(self, request: Request) -> None:
        """Never waits. Its end comes all the same."""
        request.cancelled = True
        try:
            lib.alia_engine_cancel(self.handle, request.number)
        except Error:
            pass  # it has ended already, or its engine has

    def close(self) -> None:
        lib.alia_engine_free(self.handle)
        if threading.current_thread() is not self.thread:
            self.thread.join()

    def _run(self) -> None:
        events = (_c.Event * capacity)()
        for event in events:
            event.size = C.sizeof(_c.Event)
        count = C.c_uint32()
        while True:
            try:
                lib.alia_engine_next(self.handle, events, capacity, -1, C.byref(count))
            except Error as error:
                self._fail(error)
                if error.status is Status.BAD_HANDLE or not error.usable:
                    return
                continue
            taken = events[: count.value]
            with self.lock:
                owners = [self.requests.get(event.request) for event in taken]
            for event, request in zip(taken, owners):
                if request:
                    self._hand_out(event, request)
            self._post()

    def _hand_out(self, event: Any, request: Request) -> None:
        try:
            if item := self._read(event, request):
                self._tell(request, item)
        except BaseException as error:  # of a hook or visitor
            if error.__traceback__:
                traceback.clear_frames(error.__traceback__)  # which may hold what was lent
            self._give_up(request, error)

    def _tell(self, request: Request, item: Item) -> None:
        if request.note:
            request.note(item)
        if isinstance(item, End):
            request.left -= 1
            if request.left == 0:
                with self.lock:
                    del self.requests[request.number]
                request.over.set()
        self._deliver(request, item)

    def _deliver(self, request: Request, item: Item) -> None:
        if request.loop:
            self.posts.setdefault(request.loop, []).append((request, item))
        else:
            request.deliver(item)

    def _post(self) -> None:
        """Wakes each event loop once, for all that came for it."""
        posts, self.posts = self.posts, {}
        for loop, items in posts.items():
            try:
                loop.call_soon_threadsafe(_take, items)
            except RuntimeError as error:  # it is closed
                for request, _ in items:
                    self._give_up(request, error)

    def _give_up(self, request: Request, error: BaseException) -> None:
        request.failure = request.failure or error
        self.cancel(request)

    def _read(self, event: Any, request: Request) -> Item | None:
        kind = event.kind
        if kind == _c.EVENT_TOKEN:
            token = event.token
            if request.hook:
                request.tokens[event.completion].append(token)
            top = [(t.token, t.logprob) for t in event.top[: event.top_count]] if event.top_count else []
            return Token(event.completion, _text(event.text, event.text_length), token, event.logprob, top)
        if kind == _c.EVENT_FINISHED:
            error = request.failure
            if event.finish == _c.FINISH_ERROR and not error:
                error = make_error(event.status, _text(event.message, event.message_length))
            return End(
                event.completion, _text(event.text, event.text_length), FINISHES[event.finish], event.prompt_tokens,
                event.cached_tokens, error,
            )
        if request.failure:
            return None
        if kind == _c.EVENT_CHOICE:
            _lend(event, 1, lambda rows: self._choose(request, event.completion, rows[0]))
        elif request.visit:
            visit, position = request.visit, event.position
            _lend(event, max(event.rows, 1), lambda rows: visit(position, rows))
        return None

    def _choose(self, request: Request, completion: int, logits: Floats) -> None:
        assert request.hook
        wanted = request.hook(logits, request.tokens[completion])
        chosen = logits if wanted is None else np.ascontiguousarray(wanted, np.float32)
        lib.alia_engine_choose(self.handle, request.number, completion, chosen.ctypes.data, chosen.size)

    def _fail(self, error: Error) -> None:
        """A whole step failed: every request ends with its error."""
        with self.lock:
            requests = list(self.requests.values())
            self.requests.clear()
        for request in requests:
            self.cancel(request)
            request.over.set()
            self._deliver(request, End(0, "", "error", 0, 0, error))
        self._post()


def _take(items: list[tuple[Request, Item]]) -> None:
    for request, item in items:
        request.deliver(item)


def _lend(event: Any, rows: int, use: Callable[[Floats], object]) -> None:
    """The values of an event, as the library has them in memory: valid until the next events are taken."""
    memory = (C.c_float * (rows * event.columns)).from_address(event.values)
    owner = np.frombuffer(memoryview(memory).cast("B").toreadonly(), np.float32)
    alive = weakref.ref(owner)  # every view keeps it
    use(owner.reshape(rows, event.columns))
    del owner
    if alive() is not None:
        raise make_error(Status.INVALID_ARGUMENT, "a hook or visitor kept the array that it was lent: keep array.copy()")


def _text(address: int | None, length: int) -> str:
    return C.string_at(address, length).decode() if address and length else ""
