"""The form of keys and of their hashes."""

import hashlib
import secrets

from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.keys import MIN_KEY_CHARS, PREFIX, hash_key, make_key


def test_a_made_key_may_be_used_beyond_loopback():
    """43 random characters and the prefix are more than the least length."""
    key = make_key(secrets.token_urlsafe(32))

    assert key.startswith(PREFIX)
    assert len(key) == len(PREFIX) + 43 >= MIN_KEY_CHARS


def test_the_hash_is_sha256_of_the_whole_key():
    """Anybody can compute it with sha256sum; no part of the key is left out."""
    assert hash_key("abc") == "sha256:" + hashlib.sha256(b"abc").hexdigest()


@given(st.text(), st.text())
def test_different_keys_have_different_hashes(one, other):
    """Also keys that begin alike, and keys outside ASCII."""
    assert (hash_key(one) == hash_key(other)) == (one == other)
