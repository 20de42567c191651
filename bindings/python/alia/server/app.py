"""The routes."""
import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from .._dispatch import Token
from .._engine import Engine
from .._errors import Error, Status
from .._model import Model
from . import fields, schema
from .answers import Answers, ChatAnswers, TextAnswers
from .embeddings import Embeddings
from .errors import APIError, ClientGone, as_json, from_library
from .generation import Generation, attended
from .health import Health
from .keys import Keys
from .limits import Limits, Queue, read_json
from .metrics import Metrics
from .openapi import description
from .page import page
from .stream import EventStream

Asgi = Any  #: a response
Handler = Callable[[dict[str, Any], str], Awaitable[Asgi]]
Understand = Callable[[dict[str, Any], Engine, int, Limits, str], fields.Asked]
_log = logging.getLogger(__name__)


class Server:
    """One model behind HTTP. `app` is the ASGI application; its lifespan loads the model and closes it. `model` holds
    keyword arguments of alia.Model and `engine` of alia.Engine, "context" and "sequences" among them."""

    def __init__(
        self, path: str, *, name: str, model: dict[str, Any], engine: dict[str, Any], limits: Limits = Limits(),
        keys: Keys = Keys(),
    ) -> None:
        self.path, self.name, self.limits, self.keys = path, name, limits, keys
        self._model_options, self._engine_options = model, engine
        self.context: int = engine["context"]
        self.queue = Queue(engine["sequences"] + limits.queue)
        self.health, self.metrics = Health(), Metrics(lambda: self.engine if self.health.is_ready else None)
        self.engine: Engine | None = None
        self.created = int(time.time())
        self._closing = threading.Event()

        def post(path: str, handler: Handler, body: schema.Schema) -> Route:
            return Route(path, self._endpoint(path, handler, body), methods=["POST"])

        def generating(path: str, understand: Understand, kind: type[Answers], body: schema.Schema) -> Route:
            return post(path, self._generating(path, understand, kind), body)

        def get(path: str, handler: Callable[[Request], Response], open: bool = False) -> Route:
            async def endpoint(request: Request) -> Response:
                if not open:
                    self.keys.salt(request.headers.get("authorization"))
                return handler(request)

            return Route(path, endpoint, methods=["GET"])

        self.app = Starlette(
            routes=[
                generating("/v1/chat/completions", fields.chat, ChatAnswers, schema.CHAT),
                generating("/v1/completions", fields.completion, TextAnswers, schema.COMPLETION),
                post("/v1/embeddings", self._embeddings, schema.EMBEDDING),
                post("/tokenize", self._tokenize, schema.TOKENIZE),
                get("/v1/models", lambda _: as_json({"object": "list", "data": [self._card()]})),
                get("/v1/models/{id:path}", self._model),
                get("/metrics", lambda _: Response(self.metrics.text(), media_type="text/plain; version=0.0.4")),
                get("/health", self._health, open=True),
                get("/openapi.json", lambda _: as_json(description(__version__)), open=True),
                get("/", lambda _: page(), open=True),
            ],
            exception_handlers={APIError: _refuse, HTTPException: _refuse_route, Exception: _refuse},
            lifespan=self._lifespan,
        )

    # ---- The model

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loading = threading.Thread(target=self._load, name="alia load")
        loading.start()
        yield
        self._closing.set()
        await asyncio.to_thread(loading.join)
        if self.engine:
            await asyncio.to_thread(self.engine.close)
            self.engine.model.close()

    def _load(self) -> None:
        def progress(phase: str, done: int, total: int) -> None:
            if self._closing.is_set():
                raise InterruptedError("the server ends")
            self.health.progress(phase, done, total)

        try:
            model = Model(self.path, progress=progress, **self._model_options)
            self.health.progress("engine", 0, 0)
            self.engine = Engine(model, **self._engine_options)
            self.health.ready()
        except InterruptedError:
            pass
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.health.fail(error)
        _log.error("the server fails: %s", error)

    def _ready(self) -> Engine:
        if not self.health.is_ready or not self.engine:
            now = self.health.report()
            what = "The model is being loaded." if now["status"] == "starting" else f"The server fails: {now['error']}"
            raise APIError(503, "not_ready", what, headers={"Retry-After": "1"})
        return self.engine

    def _failed(self, error: BaseException) -> APIError:
        if isinstance(error, Error) and (not error.usable or error.status in (Status.DEVICE_LOST, Status.BAD_HANDLE)):
            self._fail(error)
        return from_library(error)

    # ---- Any request with a body

    def _endpoint(
        self, path: str, handler: Handler, body_schema: schema.Schema
    ) -> Callable[[Request], Awaitable[Asgi]]:
        async def answer(request: Request) -> Asgi:
            salt = self.keys.salt(request.headers.get("authorization"))
            self._ready()
            given = await read_json(request, self.limits)

            async def work() -> Asgi:
                body: dict[str, Any] = await asyncio.to_thread(schema.checked, given, body_schema)
                if body.get("model", self.name) != self.name:
                    raise _no_model(body["model"])
                return await handler(body, salt)

            return await attended(request.receive, work())

        async def endpoint(request: Request) -> Asgi:
            status = 500
            try:
                response = await answer(request)
                status = 200
            except (APIError, Error) as error:
                refusal = self._failed(error)
                status, response = refusal.status, refusal.response()
            except ClientGone:
                status, response = 499, Response(status_code=499)
            finally:
                self.metrics.answers.labels(path, status).inc()
            return response

        return endpoint

    # ---- Answers

    def _generating(self, path: str, understand: Understand, kind: type[Answers]) -> Handler:
        first_token, whole = self.metrics.first.labels(path), self.metrics.whole.labels(path)

        async def handle(body: dict[str, Any], salt: str) -> Asgi:
            engine, start = self._ready(), time.monotonic()
            asked = await asyncio.to_thread(understand, body, engine, self.context, self.limits, salt)
            answers, generation = kind(engine.model, self.name, asked), Generation(engine, asked.requests, self.queue)

            def end() -> None:
                generation.close()
                whole.observe(time.monotonic() - start)

            async def items() -> AsyncIterator[int]:
                """The numbers of the choices that something came of."""
                fresh = True
                try:
                    async for number, item in generation:
                        if fresh and isinstance(item, Token):
                            first_token.observe(time.monotonic() - start)
                            fresh = False
                        answers.take(number, item)
                        yield number
                except Error as error:
                    raise self._failed(error) from None

            came = items()
            try:
                if asked.stream:
                    seconds = self.limits.seconds + self.limits.body_seconds
                    return EventStream(_chunks(answers, await anext(came), came), seconds, end)
                async for _ in came:
                    pass
            except BaseException:
                end()
                raise
            end()
            return as_json(answers.whole())

        return handle

    # ---- Embeddings and tokens

    async def _embeddings(self, body: dict[str, Any], salt: str) -> Asgi:
        engine = self._ready()
        embeddings = await asyncio.to_thread(Embeddings, body, engine, self.context, self.limits, salt)
        generation = Generation(engine, embeddings.requests, self.queue)
        try:
            async for _ in generation:
                pass
        finally:
            generation.close()
        return as_json(embeddings.whole(self.name))

    async def _tokenize(self, body: dict[str, Any], _: str) -> Asgi:
        encode = self._ready().model.encode
        ids = await asyncio.to_thread(encode, body["prompt"], add_special=body.get("add_special_tokens", True))
        return as_json({"tokens": ids, "count": len(ids), "context": self.context})

    # ---- What the server tells of itself

    def _card(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "alia"}

    def _model(self, request: Request) -> Response:
        if (name := request.path_params["id"]) != self.name:
            raise _no_model(name)
        return as_json(self._card())

    def _health(self, _: Request) -> Response:
        if self.engine and self.health.is_ready and not self.engine._dispatcher.thread.is_alive():
            self._fail(RuntimeError("the engine's thread has ended"))
        return as_json(self.health.report(), 200 if self.health.is_ready else 503)


async def _chunks(answers: Answers, first: int, came: AsyncIterator[int]) -> AsyncIterator[dict[str, Any]]:
    for one in answers.opening():
        yield one
    if chunk := answers.chunk(first):
        yield chunk
    async for number in came:
        if chunk := answers.chunk(number):
            yield chunk
    for one in answers.closing():
        yield one


def _no_model(name: str) -> APIError:
    return APIError(404, "model_not_found", f"There is no model {name!r} here.", "model")


async def _refuse(_: Request, error: Exception) -> Response:
    return from_library(error).response()


async def _refuse_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return APIError(error.status_code, code, f"{error.detail}.", headers=dict(error.headers or {})).response()
