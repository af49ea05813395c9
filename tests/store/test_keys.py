"""Who a token belongs to."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.access import ApiKey
from lowproxy.core.keys import hash_key
from lowproxy.errors import AuthenticationError
from lowproxy.store.keys import MOST_MARKS, KeyStore

TOKEN = "lr-sk-" + "a" * 43
GOOD = ApiKey(name="dev", hash=hash_key(TOKEN))
STORE = KeyStore([GOOD, ApiKey(name="other", hash=hash_key("b" * 40))])


def test_a_key_is_found():
    """By the whole of it, whatever its prefix."""
    assert STORE.identify(TOKEN, 0) is GOOD
    assert STORE.identify("b" * 40, 0).name == "other"


@given(st.text().filter(lambda token: token not in (TOKEN, "b" * 40)))
def test_nothing_else_is(token):
    """No prefix, no hash, no odd characters: 401, and the token is not repeated."""
    with pytest.raises(AuthenticationError) as caught:
        STORE.identify(token, 0)
    assert caught.value.status == 401
    if len(token) > 9:
        assert token not in caught.value.message


@pytest.mark.parametrize(
    "token", [TOKEN[:-1], TOKEN + "x", TOKEN[:20], hash_key(TOKEN), "", "\udcff\udcfe"]
)
def test_nearly_is_not(token):
    """Identities never meet on a part of a key."""
    with pytest.raises(AuthenticationError):
        STORE.identify(token, 0)


def test_no_token():
    """The message says how to send one."""
    with pytest.raises(AuthenticationError, match="Authorization: Bearer"):
        STORE.identify(None, 0)


def test_disabled_and_expired():
    """401, from the very second on: such a key is one no longer."""
    off = KeyStore([ApiKey(name="x", hash=hash_key("t"), enabled=False)])
    with pytest.raises(AuthenticationError, match="disabled"):
        off.identify("t", 0)
    store = KeyStore([ApiKey(name="x", hash=hash_key("t"), expires_at=100.0)])
    assert store.identify("t", 99.9).name == "x"
    with pytest.raises(AuthenticationError, match="expired"):
        store.identify("t", 100.0)


def test_a_store_does_not_print_its_keys():
    """It holds only hashes anyway."""
    assert TOKEN not in repr(STORE) + repr(vars(STORE))


def test_stored_keys_are_beside_the_configured_and_below_them():
    """The configuration's is meant where both have the name or the hash."""
    mine = ApiKey("dev", hash_key("mine"))
    store = KeyStore([mine])
    store.use(
        3,
        [
            ApiKey("dev", hash_key("same name")),
            ApiKey("same hash", hash_key("mine")),
            ApiKey("alice", hash_key("alice's")),
        ],
    )
    assert store.identify("mine", 0.0) is mine
    assert store.identify("alice's", 0.0).name == "alice"
    with pytest.raises(AuthenticationError):
        store.identify("same name", 0.0)


def test_what_is_older_than_what_is_known_changes_nothing():
    """A slow reader does not undo an edit."""
    store = KeyStore([], [ApiKey("a", hash_key("a"))], 5)
    store.use(4, [])
    assert store.identify("a", 0.0).name == "a"
    store.use(6, [])
    with pytest.raises(AuthenticationError):
        store.identify("a", 0.0)


# --- by the header field ---------------------------------------------------------------------


def test_a_caller_is_found_by_the_field():
    """At first and again, however the scheme is written."""
    store = KeyStore([GOOD])
    for field in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", f"Bearer {TOKEN}"):
        assert store.caller(field, 0.0) is GOOD
    assert store.caller(f"Bearer {TOKEN}", 0.0) is GOOD


@pytest.mark.parametrize(
    "field",
    [None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \udcff\udcfe"],
)
def test_a_field_without_a_good_key_is_refused_every_time(field):
    """Also beside one that was let in."""
    store = KeyStore([GOOD])
    store.caller(f"Bearer {TOKEN}", 0.0)
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            store.caller(field, 0.0)


def test_a_caller_that_was_known_is_asked_for_again_when_keys_change():
    """What is revoked, disabled or edited holds from the next request."""
    key = ApiKey("a", hash_key("a"))
    store = KeyStore([], [key], 1)
    assert store.caller("Bearer a", 0.0) is key
    edited = attrs.evolve(key, region="eu")
    store.use(2, [edited])
    assert store.caller("Bearer a", 0.0) is edited
    store.use(3, [attrs.evolve(key, enabled=False)])
    with pytest.raises(AuthenticationError, match="disabled"):
        store.caller("Bearer a", 0.0)
    store.use(4, [edited])
    assert store.caller("Bearer a", 0.0) is edited
    store.use(5, [])
    with pytest.raises(AuthenticationError, match="not known"):
        store.caller("Bearer a", 0.0)


def test_a_caller_that_was_known_expires():
    """From the very second on."""
    store = KeyStore([ApiKey("x", hash_key("t"), expires_at=100.0)])
    assert store.caller("Bearer t", 99.9).name == "x"
    with pytest.raises(AuthenticationError, match="expired"):
        store.caller("Bearer t", 100.0)


class _Overtaken(KeyStore):
    """Another thread swaps the keys between a look-up and what follows it."""

    def identify(self, token, now):
        answer = super().identify(token, now)
        if self.version < 2:
            self.use(2, [])
        return answer


def test_who_is_found_while_keys_change_is_not_remembered():
    """The thread that swaps keys may come between looking a key up and remembering it."""
    key = ApiKey("a", hash_key("a"))
    store = _Overtaken([], [key], 1)

    assert store.caller("Bearer a", 0.0) is key
    with pytest.raises(AuthenticationError):
        store.caller("Bearer a", 0.0)


def test_what_is_remembered_is_bounded_and_is_no_key():
    """Whatever spellings a caller thinks of."""
    store = KeyStore([GOOD])
    for n in range(MOST_MARKS + 10):
        store.caller(f"Bearer {' ' * n}{TOKEN}", 0.0)
    assert len(store._marks) <= MOST_MARKS
    assert TOKEN not in repr(vars(store))
    assert all(TOKEN.encode() not in mark for mark in store._marks)
