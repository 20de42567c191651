"""Answers as they come: server-sent events."""
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from .errors import APIError, ClientGone, encoded
from .generation import attended


class EventStream:
    """A response, as ASGI has it, of objects as events; `[DONE]` follows the last. An APIError that they end with
    becomes an event too. After `seconds`, which only a client that does not read reaches, the connection is dropped.
    `end` is called however it ends."""

    def __init__(self, objects: AsyncIterator[dict[str, Any]], seconds: float, end: Callable[[], object]) -> None:
        self._objects, self._seconds, self._end = objects, seconds, end

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await attended(receive, self._send(send))
        except (ClientGone, TimeoutError):
            pass
        finally:
            self._end()

    async def _send(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def event(data: bytes) -> None:
            await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})
            await asyncio.sleep(0)  # where more is there already, nothing else lets others run and see the client go

        try:
            async for one in self._objects:
                await event(encoded(one))
            await event(b"[DONE]")
        except APIError as error:
            await event(encoded(error.body()))
        await send({"type": "http.response.body", "body": b""})
