"""Embeddings: from the fields of a body, already checked, to requests of the engine, and what comes of them."""
import base64
from typing import Any

from .. import _c
from .._answers import Prepared
from .._engine import Engine
from .._options import Floats
from . import fields
from .limits import Limits

_poolings = {"mean": _c.POOLING_MEAN, "last": _c.POOLING_LAST}


class Embeddings:
    """`requests` fill it while they run; `whole` writes it once they are through."""

    def __init__(self, body: dict[str, Any], engine: Engine, context: int, limits: Limits, salt: str) -> None:
        every = fields.prompts(body["input"], "input", engine, limits)
        for ids in every:
            fields.fit(ids, 0, context, "input")
        self._vectors: dict[int, Floats] = {}
        self._tokens = sum(map(len, every))
        self._base64 = body.get("encoding_format") == "base64"
        options = _c.RequestOptions(
            max_tokens=0, flags=_c.REQUEST_NORMALISE, pooling=_poolings[body.get("pooling", "mean")],
            deadline=round(limits.seconds * 1000), salt=salt.encode(), salt_length=len(salt),
        )
        self.requests = [Prepared(ids, options, visit=self._keep(at)) for at, ids in enumerate(every)]

    def _keep(self, at: int) -> Any:
        def visit(_: int, values: Floats) -> None:
            self._vectors[at] = values[0].copy()

        return visit

    def whole(self, name: str) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": at, "embedding": self._written(self._vectors[at])}
            for at in range(len(self.requests))
        ]
        usage = {"prompt_tokens": self._tokens, "total_tokens": self._tokens}
        return {"object": "list", "model": name, "data": data, "usage": usage}

    def _written(self, vector: Floats) -> Any:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode() if self._base64 else vector.tolist()
