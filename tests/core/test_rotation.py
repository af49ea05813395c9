"""Whose turn it is among a candidate's credentials, and who rests."""

import pytest

from lowproxy.core.rotation import BUSY, LIMITED, REFUSED, Rest, Rotation
from lowproxy.core.secret import Secret

A, B, C = (Secret(f"sk-{name}", name) for name in "abc")


def rest(until, *, reason=LIMITED, floor=False, version=0, since=0.0):
    return Rest(until, since, reason, floor, version)


def test_they_take_turns():
    """All of them, over and over; one that rests is left out."""
    rotation = Rotation((A, B, C))
    assert [rotation.next(0.0) for _ in range(6)] == [B, C, A, B, C, A]
    rotation.rest(B, rest(10.0))
    assert [rotation.next(0.0) for _ in range(4)] == [C, A, C, A]
    assert B in [rotation.next(10.0) for _ in range(3)]


def test_those_that_were_tried_are_left_out():
    """Until nobody is left."""
    rotation = Rotation((A, B))
    assert rotation.next(0.0, [A]) is B
    with pytest.raises(LookupError):
        rotation.next(0.0, [B, A])
    rotation.rest(A, rest(5.0))
    with pytest.raises(LookupError):
        rotation.next(0.0, [B])


def test_no_credential_is_one_too():
    """A server that wants none may say Retry-After all the same."""
    rotation = Rotation(())
    assert rotation.next(0.0) is None
    rotation.rest(None, rest(5.0))
    assert rotation.all_rest(4.0)
    assert not rotation.all_rest(5.0)


def test_a_rest_never_becomes_shorter():
    """Nor does a time that the upstream named become a guess of ours."""
    rotation = Rotation((A,))
    rotation.rest(A, rest(30.0, floor=True))
    rotation.rest(A, rest(12.0, since=2.0))
    assert rotation.soonest(5.0)[1].until == 30.0
    assert rotation.soonest(5.0)[1].is_floor


def test_the_soonest():
    """One that only we let rest goes before one whose upstream has named a time."""
    rotation = Rotation((A, B, C))
    rotation.rest(A, rest(5.0, floor=True))
    rotation.rest(B, rest(9.0))
    rotation.rest(C, rest(8.0, reason=REFUSED))
    assert rotation.all_rest(0.0)
    assert rotation.soonest(0.0)[0] is C


def test_an_answer_ends_a_rest_of_ours():
    """One that began since, and not before a time that the upstream named."""
    rotation = Rotation((A, B))
    rotation.rest(A, rest(60.0, since=10.0))
    rotation.rest(B, rest(60.0, since=10.0, reason=BUSY, floor=True))
    assert not rotation.worked(A, 9.0)
    assert rotation.worked(A, 11.0)
    assert not rotation.worked(A, 12.0)
    assert not rotation.worked(B, 11.0)
    assert list(rotation.rests(20.0)) == [B]


def test_a_credential_that_was_replaced_has_not_been_refused():
    """It was another; a limit is of the account, and stays."""
    mine = Secret("sk-x", "x")
    rotation = Rotation((mine,))
    rotation.rest(mine, rest(60.0, reason=REFUSED))
    assert rotation.all_rest(1.0)
    mine.version += 1
    assert not rotation.all_rest(1.0)
    rotation.rest(mine, rest(60.0, version=0))
    assert rotation.all_rest(1.0)


def test_credentials_of_another_configuration():
    """Theirs is another rotation; what comes late from before changes nothing."""
    rotation = Rotation((A,))
    assert rotation.is_of((A,))
    assert not rotation.is_of((B,))
    assert Rotation(()).is_of(())
    rotation.rest(B, rest(60.0))
    assert rotation.rests(0.0) == {}
