"""Answers as they come: server-sent events."""
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from .._errors import Error
from .errors import APIError, encoded


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


class EventStream:
    """A response, as ASGI has it, of events: each part holds what is there at its time. A failure that they end with
    becomes an event too, as `failed` has it. After `seconds`, which only a client that does not read reaches, the
    connection is dropped. `end` is called however it ends."""

    def __init__(
        self, parts: AsyncIterator[bytes], seconds: float, failed: Callable[[BaseException], APIError],
        end: Callable[[], object],
    ) -> None:
        self._parts, self._seconds, self._failed, self._end = parts, seconds, failed, end

    async def __call__(self, scope: Any, receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(send)
        except TimeoutError:
            pass
        finally:
            self._end()

    async def _send(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async for part in self._parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            last = event(b"[DONE]")
        except (APIError, Error) as error:
            last = event(encoded(self._failed(error).body()))
        await send({"type": "http.response.body", "body": last})
