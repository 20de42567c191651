"""The server's description of itself, /openapi.json."""
from typing import Any

from . import schema

_error = {
    "type": "object", "required": ["error"],
    "properties": {"error": {
        "type": "object", "required": ["message", "type", "param", "code"],
        "properties": {
            "message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"]},
            "code": {"type": "string"},
        },
    }},
}
_refusals = {
    "400": "The body breaks its schema, or asks for more than the model or the server's limits allow",
    "401": "No valid API key", "404": "No such model", "408": "The time limit is over", "413": "The body is too large",
    "415": "The body is not JSON", "429": "The queue is full", "500": "The server failed", "503": "Not ready",
}


def _json(about: str, content: Any) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": content}}}


def _responses(good: dict[str, Any], *statuses: str) -> dict[str, Any]:
    return {"200": good} | {status: _json(_refusals[status], _error) for status in statuses}


def _nullable(given: Any) -> Any:
    """Where a member may be left out it may be null as well."""
    if not isinstance(given, dict):
        return [_nullable(one) for one in given] if isinstance(given, list) else given
    made = {name: _nullable(value) for name, value in given.items()}
    if properties := made.get("properties"):
        for name in properties:
            if name not in made.get("required", ()):
                properties[name] = {"anyOf": [properties[name], {"type": "null"}]}
    return made


def _post(summary: str, body: schema.Schema, *kinds: str) -> dict[str, Any]:
    good = {"description": "The answer", "content": {kind: {} for kind in ("application/json", *kinds)}}
    return {"post": {
        "summary": summary, "security": [{}, {"key": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _nullable(body)}}},
        "responses": _responses(good, *_refusals),
    }}


def _get(summary: str, kind: str, *statuses: str) -> dict[str, Any]:
    good = {"description": summary, "content": {kind: {}}}
    return {"get": {"summary": summary, "responses": _responses(good, *statuses)}}


def description(version: str) -> dict[str, Any]:
    events = "text/event-stream"
    secured = {"security": [{}, {"key": []}]}
    health = _get("Whether requests are answered", "application/json")
    health["get"]["responses"]["503"] = {"description": "Starting, or failing", "content": {"application/json": {}}}
    model = _get("A model", "application/json", "401", "404")
    parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    model["get"] |= secured | {"parameters": [parameter]}
    models, metrics = _get("The model that is served", "application/json", "401"), _get("Metrics", "text/plain", "401")
    models["get"] |= secured
    metrics["get"] |= secured
    return {
        "openapi": "3.1.0",
        "info": {"title": "alia.server", "version": version},
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/v1/chat/completions": _post("Answers a conversation", schema.CHAT, events),
            "/v1/completions": _post("Continues a text", schema.COMPLETION, events),
            "/v1/embeddings": _post("Embeds texts", schema.EMBEDDING),
            "/tokenize": _post("The tokens of a text", schema.TOKENIZE),
            "/v1/models": models,
            "/v1/models/{id}": model,
            "/health": health,
            "/metrics": metrics,
        },
    }
