"""Servers that this machine alone can reach."""
import ipaddress
from typing import Any
from urllib.parse import urlsplit

from .errors import APIError


def is_local(host: str) -> bool:
    """Whether this name or address is the machine's own loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class LocalOnly:
    """ASGI middleware that refuses requests under any other name: a web page whose name leads to this machine could
    otherwise have a browser here ask the server and read the answers."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = self._app
        given = dict(scope.get("headers", ())).get(b"host", b"localhost").decode("latin-1")
        if not is_local(_name(given)):
            app = APIError(403, "forbidden_host", "Only requests to localhost are answered.").response()
        await app(scope, receive, send)


def _name(host: str) -> str:
    """Without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
