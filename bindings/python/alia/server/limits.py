"""What one request may take, and its body read within that."""
import asyncio
import json
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from .errors import APIError, ClientGone


@dataclass(frozen=True)
class Limits:
    body: int = 4 << 20  #: bytes
    body_seconds: float = 30  #: until the body is there
    seconds: float = 600  #: from the queue to the last token
    tokens: int = 0  #: generated for one choice; 0: as many as the context holds
    queue: int = 64  #: choices that wait while the engine runs as many as it can
    prompts: int = 128  #: in one request


class Queue:
    """Counts the choices that run or wait. Belongs to the event loop."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0

    def enter(self, choices: int) -> None:
        """Refused where it is full; otherwise all of them find room, so that no request is too large for ever."""
        if self._taken >= self._most:
            many = "Too many requests are waiting; try again later."
            raise APIError(429, "queue_full", many, headers={"Retry-After": "1"})
        self._taken += choices

    def leave(self, choices: int) -> None:
        self._taken -= choices


def no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON's")


async def read_body(request: Request, limits: Limits) -> bytes:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise APIError(415, "unsupported_media_type", "The body must be JSON, with Content-Type: application/json.")
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read(request, limits.body)
    except TimeoutError:
        raise APIError(
            408, "body_timeout", f"The body did not arrive within {limits.body_seconds:g} seconds.",
            headers={"Connection": "close", "x-should-retry": "false"},
        ) from None
    except ClientDisconnect:
        raise ClientGone from None


def parsed(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data.decode(), parse_constant=no_constant)
    except ValueError as error:
        raise APIError(400, "invalid_json", f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise APIError(400, "invalid_json", "The body must be a JSON object.")
    return body


async def _read(request: Request, most: int) -> bytes:
    data = bytearray()
    announced = request.headers.get("content-length", "")
    if not (announced.isdecimal() and int(announced) > most):
        async for part in request.stream():
            data += part
            if len(data) > most:
                break
        else:
            return bytes(data)
    raise APIError(413, "body_too_large", f"The body is longer than {most} bytes.", headers={"Connection": "close"})
