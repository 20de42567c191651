"""Errors of the library as exceptions."""
import enum

from . import _c

class Status(enum.IntEnum):
    """Why a call failed; alia.h says what each means."""

    OK = 0
    INVALID_ARGUMENT = 1
    NOT_FOUND = 2
    IO = 3
    TRUNCATED = 4
    MALFORMED = 5
    DUPLICATE = 6
    OVERLAP = 7
    MISSING = 8
    SHAPE = 9
    UNSUPPORTED = 10
    LIMIT = 11
    OUT_OF_MEMORY = 12
    NO_TOKENIZER = 13
    CONTEXT_FULL = 14
    DEVICE_UNAVAILABLE = 15
    DEVICE_LOST = 16
    BAD_HANDLE = 17
    BUSY = 18
    CANCELLED = 19
    INTERNAL = 20


class Error(Exception):
    """A call that failed: one sentence, and what it is about."""

    status: Status
    item: str  #: the tensor, metadata key, JSON pointer or argument, or ""
    offset: int | None  #: the byte in the file or text
    usable: bool  #: whether the engine or model can still be used, or only be closed

    def __init__(self, status: Status, message: str, item: str = "", offset: int | None = None, usable: bool = True) -> None:
        super().__init__(message)
        self.status, self.item, self.offset, self.usable = status, item, offset, usable

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, str(self), self.item, self.offset, self.usable)


class InvalidArgument(Error, ValueError):
    """An argument of the caller."""


class NotFound(Error, LookupError):
    """No such file, tensor, token or sequence."""


class OutOfMemory(Error, MemoryError):
    """The machine or the device has no memory left for it."""


_classes = {
    Status.INVALID_ARGUMENT: InvalidArgument,
    Status.NOT_FOUND: NotFound,
    Status.OUT_OF_MEMORY: OutOfMemory,
}


def make_error(status: int, message: str, item: str = "", offset: int | None = None, usable: bool = True) -> Error:
    known = Status(status) if status < len(Status) else Status.INTERNAL
    return _classes.get(known, Error)(known, message, item, offset, usable)


def last_error() -> Error:
    """The calling thread's last failure."""
    lib = _c.lib
    offset = lib.alia_error_offset()
    return make_error(
        lib.alia_error_status().value,
        lib.alia_error_message().decode(errors="surrogateescape"),
        lib.alia_error_item().decode(errors="surrogateescape"),
        offset if offset >= 0 else None,
        lib.alia_error_handle_usable() == 1,
    )
