"""What /metrics tells, in the text form of Prometheus."""
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .._engine import Engine
from .._errors import Error

_now = {"running", "waiting", "pages", "pages_free", "pages_cached"}
_seconds = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics(Collector):
    """Counted by the server, and the engine's own counters, asked for when they are read."""

    def __init__(self, engine: Callable[[], Engine | None]) -> None:
        self._engine, self._registry = engine, CollectorRegistry()
        self.answers = Counter(
            "alia_http_answers", "Answers by route and status", ["route", "status"], registry=self._registry
        )
        self.first = self._histogram("alia_first_token_seconds", "From a well-formed request to its first token")
        self.whole = self._histogram("alia_answer_seconds", "From a well-formed request to the end of its answer")
        self._registry.register(self)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(name, about, ["route"], buckets=_seconds, registry=self._registry)

    def collect(self) -> Iterable[Metric]:
        engine = self._engine()
        yield GaugeMetricFamily("alia_ready", "1 where requests are answered", value=int(engine is not None))
        try:
            counters = engine.counters if engine else {}
        except Error:  # closed meanwhile
            counters = {}
        for name, value in counters.items():
            family = GaugeMetricFamily if name in _now else CounterMetricFamily
            yield family(f"alia_engine_{name}", f"The engine's counter {name}", value=value)

    def text(self) -> bytes:
        return generate_latest(self._registry)
