"""Any request with a body: read, understood, answered, and given up where its client goes away."""
import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from starlette.requests import Request

from .._errors import Error
from .errors import APIError, ClientGone
from .limits import parsed, read_body
from .schema import Schema, checked

if TYPE_CHECKING:
    from .app import Server

T = TypeVar("T")
Asgi = Callable[[Any, Any, Any], Awaitable[None]]  #: an application, or a response


class Endpoint(Generic[T]):
    """The ASGI application of a route. `understand` makes of a body that follows its schema, and the salt of its key, what
    `answer` makes a response of."""

    def __init__(
        self, server: "Server", path: str, schema: Schema, understand: Callable[[dict[str, Any], str], T],
        answer: Callable[[T], Awaitable[Asgi]],
    ) -> None:
        self._server, self._path, self._schema = server, path, schema
        self._understand, self._answer = understand, answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status = 500
        try:
            await self._respond(scope, receive, send)
            status = 200
        except (APIError, Error) as error:
            refusal = self._server.failed(error)
            status = refusal.status
            await refusal.response()(scope, receive, send)
        except ClientGone:
            status = 499
        finally:
            self._server.metrics.answers.labels(self._path, status).inc()

    async def _respond(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        salt = self._server.keys.salt(request.headers.get("authorization"))
        self._server.ready()
        data = await read_body(request, self._server.limits)

        def understood() -> T:
            try:
                body: dict[str, Any] = checked(parsed(data), self._schema)
                self._server.check_model(body.get("model"))
                return self._understand(body, salt)
            except RecursionError:
                raise APIError(400, "invalid_json", "The body is nested too deeply.") from None

        async def respond() -> None:
            asked = understood() if len(data) <= _short else await asyncio.to_thread(understood)
            response = await self._answer(asked)
            await response(scope, receive, send)

        await _attended(receive, respond())


_short = 4096  #: bytes of a body that are understood sooner than another thread is awake


async def _attended(receive: Callable[[], Awaitable[Any]], work: Coroutine[Any, Any, None]) -> None:
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
