"""The callers' keys, in memory, found by the hash of the whole key."""

from collections.abc import Iterable

from lowproxy.core.access import ApiKey
from lowproxy.core.keys import hash_key
from lowproxy.errors import AuthenticationError

_HOW = "send one of this gateway's keys as 'Authorization: Bearer ...'"


class KeyStore:
    """Looks keys up. Comparing hashes of a random key leaks nothing through time that helps to guess it."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_hash = {key.hash: key for key in keys}

    def identify(self, token: str | None, now: float) -> ApiKey:
        """The key that a caller presents. Raises AuthenticationError where there is none that is good."""
        if token is None:
            raise AuthenticationError(f"no API key: {_HOW}")
        try:
            key = self._by_hash.get(hash_key(token))
        except UnicodeEncodeError:  # bytes that are no UTF-8: no key of ours
            key = None
        if key is None:
            raise AuthenticationError(f"this API key is not known: {_HOW}")
        key.usable(now)
        return key
