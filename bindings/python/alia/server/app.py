"""The routes."""
import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from .._dispatch import Item
from .._engine import Engine
from .._errors import Error, Status
from .._model import Model
from . import fields, schema
from .answers import Answers, ChatAnswers, TextAnswers
from .embeddings import Embeddings
from .endpoint import Asgi, Endpoint
from .errors import APIError, as_json, from_library
from .generation import Generation
from .health import Health
from .keys import Keys
from .limits import Limits, Queue
from .metrics import Metrics
from .openapi import description
from .page import page
from .stream import EventStream

T = TypeVar("T")
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

        def get(path: str, handler: Callable[[Request], Response], open: bool = False) -> Route:
            async def endpoint(request: Request) -> Response:
                if not open:
                    self.keys.salt(request.headers.get("authorization"))
                return handler(request)

            return Route(path, endpoint, methods=["GET"])

        self.app = Starlette(
            routes=[
                self._generating("/v1/chat/completions", fields.chat, ChatAnswers, schema.CHAT),
                self._generating("/v1/completions", fields.completion, TextAnswers, schema.COMPLETION),
                self._post("/v1/embeddings", schema.EMBEDDING, self._prepare_embeddings, self._embed),
                self._post("/tokenize", schema.TOKENIZE, self._encode, self._tokenize),
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

    def _post(
        self, path: str, body: schema.Schema, understand: Callable[[dict[str, Any], str], T],
        answer: Callable[[T], Awaitable[Asgi]],
    ) -> Route:
        return Route(path, Endpoint(self, path, body, understand, answer), methods=["POST"])

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

    def ready(self) -> Engine:
        if not self.health.is_ready or not self.engine:
            now = self.health.report()
            what = "The model is being loaded." if now["status"] == "starting" else f"The server fails: {now['error']}"
            raise APIError(503, "not_ready", what, headers={"Retry-After": "1"})
        return self.engine

    def failed(self, error: BaseException) -> APIError:
        if isinstance(error, Error) and (not error.usable or error.status in (Status.DEVICE_LOST, Status.BAD_HANDLE)):
            self._fail(error)
        return from_library(error)

    def check_model(self, name: str | None) -> None:
        if name not in (None, self.name):
            raise APIError(404, "model_not_found", f"There is no model {name!r} here.", "model")

    # ---- Answers

    def _generating(self, path: str, understand: Understand, kind: type[Answers], body: schema.Schema) -> Route:
        first_token, whole = self.metrics.first.labels(path), self.metrics.whole.labels(path)

        def prepare(body: dict[str, Any], salt: str) -> fields.Asked:
            return understand(body, self.ready(), self.context, self.limits, salt)

        async def answer(asked: fields.Asked) -> Asgi:
            engine, start = self.ready(), time.monotonic()
            answers, generation = kind(engine.model, self.name, asked), Generation(engine, asked.requests, self.queue)

            def end() -> None:
                generation.close()
                whole.observe(time.monotonic() - start)

            try:
                came = await anext(generation)
                first_token.observe(time.monotonic() - start)
                if asked.stream:
                    seconds = self.limits.seconds + self.limits.body_seconds
                    return EventStream(_events(answers, came, generation), seconds, self.failed, end)
                answers.take(came)
                async for came in generation:
                    answers.take(came)
            except BaseException:
                end()
                raise
            end()
            return as_json(answers.whole())

        return self._post(path, body, prepare, answer)

    # ---- Embeddings and tokens

    def _prepare_embeddings(self, body: dict[str, Any], salt: str) -> Embeddings:
        return Embeddings(body, self.ready(), self.context, self.limits, salt)

    async def _embed(self, embeddings: Embeddings) -> Asgi:
        generation = Generation(self.ready(), embeddings.requests, self.queue)
        try:
            async for _ in generation:
                pass
        finally:
            generation.close()
        return as_json(embeddings.whole(self.name))

    def _encode(self, body: dict[str, Any], _: str) -> list[int]:
        return self.ready().model.encode(body["prompt"], add_special=body.get("add_special_tokens", True))

    async def _tokenize(self, ids: list[int]) -> Asgi:
        return as_json({"tokens": ids, "count": len(ids), "context": self.context})

    # ---- What the server tells of itself

    def _card(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "alia"}

    def _model(self, request: Request) -> Response:
        self.check_model(request.path_params["id"])
        return as_json(self._card())

    def _health(self, _: Request) -> Response:
        if self.engine and self.health.is_ready and not self.engine._dispatcher.thread.is_alive():
            self._fail(RuntimeError("the engine's thread has ended"))
        return as_json(self.health.report(), 200 if self.health.is_ready else 503)


async def _events(answers: Answers, first: list[tuple[int, Item]], more: Generation) -> AsyncIterator[bytes]:
    yield answers.opening() + answers.events(first)
    async for came in more:
        if part := answers.events(came):
            yield part
    if last := answers.closing():
        yield last


async def _refuse(_: Request, error: Exception) -> Response:
    return from_library(error).response()


async def _refuse_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return APIError(error.status_code, code, f"{error.detail}.", headers=dict(error.headers or {})).response()
