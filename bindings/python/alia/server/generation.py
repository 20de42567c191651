"""The engine's requests behind one HTTP request."""
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from .._answers import Prepared
from .._dispatch import Dispatcher, End, Item, Request
from .._engine import Engine
from .errors import APIError, ClientGone
from .limits import Queue

T = TypeVar("T")


class Generation(AsyncIterator[tuple[int, Item]]):
    """What comes of several requests, each item with the number of its choice: the first request's completions have the
    first ones. Belongs to the event loop that made it. `close`, once, ends what still runs; it never waits."""

    def __init__(self, engine: Engine, prepared: list[Prepared], queue: Queue) -> None:
        self._queue, self._choices = queue, sum(one.options.completions for one in prepared)
        queue.enter(self._choices)
        self._items: asyncio.Queue[tuple[int, Item]] = asyncio.Queue()
        self._running: list[tuple[Dispatcher, Request]] = []
        self._left = 0
        try:
            for one in prepared:
                request = one.request(self._deliver(self._left))
                self._running.append((engine._submit(one, request), request))
                self._left += one.options.completions
        except BaseException:
            self.close()
            raise

    def _deliver(self, first: int) -> Callable[[Item], object]:
        loop, put = asyncio.get_running_loop(), self._items.put_nowait
        return lambda item: loop.call_soon_threadsafe(put, (first + item.completion, item))

    async def __anext__(self) -> tuple[int, Item]:
        if not self._left:
            raise StopAsyncIteration
        choice, item = await self._items.get()
        if isinstance(item, End):
            if item.error:
                raise item.error
            if item.finish == "deadline":
                late = "The answer was not complete within the server's time limit."
                raise APIError(408, "time_limit", late, headers={"x-should-retry": "false"})
            self._left -= 1
        return choice, item

    def close(self) -> None:
        self._queue.leave(self._choices)
        for dispatcher, request in self._running:
            if not request.over.is_set():
                dispatcher.cancel(request)


async def attended(receive: Callable[[], Awaitable[Any]], work: Coroutine[Any, Any, T]) -> T:
    """Does the work, and cancels it where the client goes away: ClientGone."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.wait((working, watching))
