"""Whether the server can answer."""
from typing import Any


class Health:
    """Starting, ready or failing. Set by the thread that loads and by those that see the engine fail; read by any."""

    def __init__(self) -> None:
        self._now: dict[str, Any] = {"status": "starting", "phase": "headers"}

    def progress(self, phase: str, done: int, total: int) -> None:
        self._now = {"status": "starting", "phase": phase, "done": done, "total": total}

    def ready(self) -> None:
        self._now = {"status": "ready"}

    def fail(self, error: BaseException) -> None:
        self._now = {"status": "failing", "error": str(error) or type(error).__name__}

    @property
    def is_ready(self) -> bool:
        return bool(self._now["status"] == "ready")

    def report(self) -> dict[str, Any]:
        return self._now
