"""API keys."""
import hashlib
import hmac
import os
from collections.abc import Iterable

from .errors import APIError


class Keys:
    """Those that may ask; without any, everybody may."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def salt(self, authorization: str | None) -> str:
        """Of the prefix cache: a key's own, so that nobody learns from response times what holders of other keys asked.
        Every key is compared, in constant time."""
        if not self._digests:
            return ""
        scheme, _, key = (authorization or "").partition(" ")
        given = hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()  # as headers are decoded
        found = [digest for digest in self._digests if hmac.compare_digest(digest, given)]
        if not found or scheme.lower() != "bearer":
            raise APIError(
                401, "invalid_api_key", "A valid key is needed: Authorization: Bearer KEY.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return hashlib.blake2b(found[0], person=b"alia prefix", digest_size=16).hexdigest()


def read_keys(path: str | None) -> Keys:
    """From the file, one on a line, where lines that start with # are comments; or from the environment's
    ALIA_API_KEYS, separated by commas."""
    if path is None:
        return Keys(key.strip() for key in os.environ.get("ALIA_API_KEYS", "").split(",") if key.strip())
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    keys = Keys(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ValueError(f"{path} holds no key")
    return keys
