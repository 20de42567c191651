"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}}."""
import json
from typing import Any

from starlette.responses import Response

from .._errors import Error, Status


class APIError(Exception):
    """An answer that is an error. `param` names the field of the request that it is about."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, headers or {}

    def body(self) -> dict[str, Any]:
        if self.status >= 500:
            kind = "server_error"
        else:
            kind = "rate_limit_error" if self.status == 429 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        return as_json(self.body(), self.status, self.headers)


class ClientGone(Exception):
    """The client has closed its connection."""


def as_json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encoded(content), status, headers, "application/json")


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encoded(content: object) -> bytes:
    return _json.encode(content).encode(errors="replace")


#: The library's names of what a request's fields became.
_fields = {
    "stop_texts": "stop", "stop_text_length": "stop", "token of the logit bias": "logit_bias",
}


def from_library(error: BaseException) -> APIError:
    """What a failure of the library is to a client."""
    if isinstance(error, APIError):
        return error
    if not isinstance(error, Error):
        return APIError(500, "internal_error", "The server failed; its log says why.")
    message, item = str(error), error.item.removeprefix("options.").split("[")[0]
    match error.status:
        case Status.INVALID_ARGUMENT:
            return APIError(400, "invalid_value", message, _fields.get(item, item) or None)
        case Status.CONTEXT_FULL:
            return APIError(400, "context_length_exceeded", message, "prompt")
        case Status.NO_TOKENIZER:
            return APIError(400, "no_tokenizer", message)
        case Status.OUT_OF_MEMORY | Status.DEVICE_LOST | Status.BAD_HANDLE:
            return APIError(503, "unavailable", message)
    return APIError(500, "internal_error", message)
