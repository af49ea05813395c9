"""The callers' keys, in memory, found by the hash of the whole key."""

import secrets
from collections.abc import Iterable
from hashlib import blake2b

from lowproxy.core.access import ApiKey
from lowproxy.core.headers import bearer
from lowproxy.core.keys import hash_key
from lowproxy.errors import AuthenticationError

# Header fields remembered: more than one gateway's callers have keys, in a megabyte.
MOST_MARKS = 4096

_HOW = "send one of this gateway's keys as 'Authorization: Bearer ...'"


class KeyStore:
    """Looks keys up. Comparing hashes of a random key leaks nothing through time that helps to guess it.

    `configured` are the configuration's; `stored`, of a `version`, are the database's, and are swapped whole
    when those change. Where both have a name or a hash, the configuration's is meant.
    """

    def __init__(
        self,
        configured: Iterable[ApiKey],
        stored: Iterable[ApiKey] = (),
        version: int = -1,
    ) -> None:
        self.configured = tuple(configured)
        self.stored: tuple[ApiKey, ...] = ()
        self.version = -1
        self._by_hash = {key.hash: key for key in self.configured}
        # Whose request it is by the mark of its `Authorization`: as one-way as the hash, of this process
        # alone, and made in half the time.
        self._blank = blake2b(salt=secrets.token_bytes(16))
        self._marks: dict[bytes, ApiKey] = {}
        if version >= 0:
            self.use(version, stored)

    def use(self, version: int, stored: Iterable[ApiKey]) -> None:
        """The database's keys are these from the next request on; an older version changes nothing."""
        if version < self.version:
            return
        names = {key.name for key in self.configured}
        self.version = version
        self.stored = tuple(stored)
        good = [key for key in self.stored if key.name not in names]
        self._by_hash = {key.hash: key for key in (*good, *self.configured)}
        # Another one, behind the keys: `caller` may be at work in another thread, with the one before.
        self._marks = {}

    def caller(self, authorization: str | None, now: float) -> ApiKey:
        """The key of a request's `Authorization`. Raises AuthenticationError as `identify`."""
        if authorization is None:
            return self.identify(None, now)
        marks, mark = self._marks, self._blank.copy()
        try:
            mark.update(authorization.encode())
        except UnicodeEncodeError:
            return self.identify(bearer(authorization), now)
        digest = mark.digest()
        key = marks.get(digest)
        if key is None:
            key = self.identify(bearer(authorization), now)
            if len(marks) >= MOST_MARKS:
                marks.clear()
            marks[digest] = key
        elif key.expires_at is not None:  # all others stay good until the keys change
            key.usable(now)
        return key

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
