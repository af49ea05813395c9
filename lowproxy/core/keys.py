"""The form of a caller's key, and the hash under which it is kept.

Keys are long and random, so one SHA-256 is enough: there is nothing to guess, and a slow
password hash would be paid by every request.
"""

import hashlib

PREFIX = "lr-sk-"
MIN_KEY_CHARS = 40  # of a key that may be used beyond loopback


def make_key(token: str) -> str:
    """A key out of 43 URL-safe random characters (256 bits), which the caller draws."""
    return PREFIX + token


def hash_key(key: str) -> str:
    """`sha256:` and the hex digest of the whole key; what is stored and compared."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()
