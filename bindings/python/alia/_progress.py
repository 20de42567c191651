"""What long work tells of itself, and how it is ended."""
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from . import _c
from ._errors import Error, Status


def _bar(title: str, stack: ExitStack) -> Callable[[str, int, int], object] | None:
    if not (sys.stderr and sys.stderr.isatty() and importlib.util.find_spec("tqdm")):
        return None
    from tqdm import tqdm  # type: ignore[import]

    bar = stack.enter_context(tqdm(desc=title, unit="B", unit_scale=True, unit_divisor=1024))

    def show(_: str, done: int, total: int) -> None:
        if total:  # phases of unknown length only tell that they begin
            bar.total = total
            bar.update(done - bar.n)

    return show


@contextmanager
def watch(title: str, progress: Callable[[str, int, int], object] | Literal[False] | None) -> Iterator[Any]:
    """The library's callback. What `progress` raises, and Ctrl-C, ends the work and is raised here."""
    raised: list[BaseException] = []
    with ExitStack() as stack:
        tell = _bar(title, stack) if progress is None else progress

        def callback(_: object, given: Any) -> int:
            try:
                if tell:
                    now = given.contents
                    tell(now.phase.decode(), now.done, now.total)
                return 0
            except BaseException as error:
                raised.append(error)
                return 1

        try:
            yield _c.ProgressCallback(callback)
        except Error as error:
            if error.status is Status.CANCELLED and raised:
                raise raised[0] from None
            raise
