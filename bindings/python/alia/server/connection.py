"""Connections that do not wait for ever, and tell little of what is no HTTP. uvicorn limits neither the time until a
request's head is there nor, so, how many descriptors silent clients hold."""
import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class _Wire(h11.Connection):
    """h11's, which writes the pieces of a stream, of which each token is one, without asking its rules again."""

    _chunked = False

    def send(self, event: Any) -> bytes | None:
        if self._chunked and self.our_state is h11.SEND_BODY and isinstance(event, h11.Data) and event.data:
            return b"%x\r\n%b\r\n" % (len(event.data), event.data)
        sent: bytes | None = super().send(event)
        if isinstance(event, h11.Response):
            self._chunked = sent is not None and b"\r\ntransfer-encoding: chunked\r\n" in sent.lower()
        return sent


def connection(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, whose connections are closed where a head has not come within so many seconds. What is no HTTP
    is a line in its log."""
    logging.getLogger("uvicorn.error").addFilter(_without_traceback)

    class Connection(H11Protocol):  # type: ignore[misc]
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            self.conn = _Wire(h11.SERVER)
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._late:
                self._late.cancel()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """To what is no HTTP, unless the answer to what came before it has begun. Nothing else follows."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                super().send_400_response(msg)
            self.transport.close()
            if self.cycle:
                self.cycle.disconnected = True
                self.cycle.message_event.set()

        def _watch(self) -> None:
            waits = self.conn.their_state is h11.IDLE
            if waits and not self._late:
                self._late = self.loop.call_later(seconds, self.transport.close)
            elif not waits and self._late:
                self._late.cancel()
                self._late = None

    return Connection


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], h11.RemoteProtocolError):
        record.exc_info = None
    return True
