"""The engine's requests behind one HTTP request."""
import asyncio
from collections.abc import AsyncIterator, Callable

from .._answers import Prepared
from .._dispatch import Dispatcher, End, Item, Request
from .._engine import Engine
from .errors import APIError
from .limits import Queue


class Generation(AsyncIterator[list[tuple[int, Item]]]):
    """What comes of several requests, all that is there at a time, each item with the number of its choice: the first
    request's completions have the first ones. Belongs to the event loop that made it. `close`, once, ends what still
    runs; it never waits."""

    def __init__(self, engine: Engine, prepared: list[Prepared], queue: Queue) -> None:
        self._queue, self._choices = queue, sum(one.options.completions for one in prepared)
        queue.enter(self._choices)
        self._came: list[tuple[int, Item]] = []
        self._news: asyncio.Future[None] | None = None  # that who waits for more is told by
        self._running: list[tuple[Dispatcher, Request]] = []
        self.left = 0  #: choices that go on
        self._loop = asyncio.get_running_loop()
        try:
            for one in prepared:
                request = one.request(self._taker(self.left), self._loop)
                self._running.append((engine._submit(one, request), request))
                self.left += one.options.completions
        except BaseException:
            self.close()
            raise

    def _taker(self, first: int) -> Callable[[Item], object]:
        def take(item: Item) -> None:
            self._came.append((first + item.completion, item))
            if self._news and not self._news.done():
                self._news.set_result(None)

        return take

    async def __anext__(self) -> list[tuple[int, Item]]:
        if not self.left:
            raise StopAsyncIteration
        if not self._came:
            self._news = self._loop.create_future()
            await self._news
        came, self._came = self._came, []
        for at, (_, item) in enumerate(came):
            if not isinstance(item, End):
                continue
            if failure := _failure(item):
                if at == 0:
                    raise failure
                self._came = came[at:]
                return came[:at]
            self.left -= 1
        return came

    def close(self) -> None:
        self._queue.leave(self._choices)
        for dispatcher, request in self._running:
            if not request.over.is_set():
                dispatcher.cancel(request)


def _failure(end: End) -> BaseException | None:
    if end.finish == "deadline" and not end.error:
        late = "The answer was not complete within the server's time limit."
        return APIError(408, "time_limit", late, headers={"x-should-retry": "false"})
    return end.error
