"""Who has been failing rests, one request tries it, and everything fades."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.breaker import Limits
from lowproxy.core.health import Health
from lowproxy.core.rotation import BUSY, LIMITED, REFUSED
from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Provider
from lowproxy.core.vitals import CredentialHealth

LIMITS = Limits()
REST_S = LIMITS.rest_s


def candidate(name="a", keys=1):
    """One with that many credentials."""
    secrets = tuple(Secret(f"sk-canary-{i}", f"KEY_{i}") for i in range(keys))
    provider = Provider(name, credentials=secrets)
    return Candidate(Model("m", name, "up"), Endpoint(name, provider, "eu", "http://x"))


A, B = candidate("a"), candidate("b")


def failing(*candidates, times=LIMITS.failures, at=0.0):
    """A health in which they have failed so often."""
    health = Health()
    for each in candidates:
        for _ in range(times):
            health.failed(each.id, at, at)
    return health


def test_who_fails_rests_for_a_while():
    """The others do not."""
    health = failing(A)
    health.failed(B.id, 0.0, 0.0)
    assert health.resting(REST_S - 0.1) == {A.id}
    assert health.resting(REST_S) == frozenset()
    assert not health.admits(A, 1.0)
    assert health.admits(B, 1.0)


def test_nobody_rests_and_nothing_is_made():
    """The usual case costs nothing: not even another set."""
    health = Health()
    health.answered(A.id, None, 0.0, 1.0)
    health.failed(A.id, 1.0, 1.0)
    assert health.resting(2.0) is health.resting(3.0)
    assert not health.troubled


def test_one_request_tries_it():
    """Of a thousand that come when the rest is over, one is let through; it ends the rest for all."""
    health = failing(A)
    assert health.resting(REST_S) == frozenset()
    assert [health.admits(A, REST_S) for _ in range(1000)].count(True) == 1
    assert health.resting(REST_S) == {A.id}
    health.answered(A.id, None, REST_S, REST_S + 2)
    assert health.resting(REST_S + 2) == frozenset()
    assert all(health.admits(A, REST_S + 2) for _ in range(10))


def test_a_trial_that_fails():
    """It rests again, as long as the first time, and then one tries it again."""
    health = failing(A)
    assert health.admits(A, 11.0)
    health.failed(A.id, 11.0, 12.0)
    assert health.resting(12.0 + REST_S - 0.1) == {A.id}
    assert health.admits(A, 12.0 + REST_S)
    assert not health.admits(A, 12.0 + REST_S)


def test_a_trial_whose_caller_leaves():
    """The next request tries it; nothing has been learnt."""
    health = failing(A)
    before = health.view(11.0).candidates[A.id]
    assert health.admits(A, 11.0)
    health.abandoned(A.id, 11.0, 11.5)
    assert health.view(11.0).candidates[A.id] == before
    assert health.admits(A, 12.0)


def test_a_trial_that_takes_for_ever():
    """After another rest somebody else may try; the first that answers ends it."""
    health = failing(A)
    assert health.admits(A, 11.0)
    assert not health.admits(A, 11.0 + REST_S - 0.1)
    assert health.admits(A, 11.0 + REST_S)
    health.answered(A.id, None, 11.0, 40.0)
    assert health.resting(40.0) == frozenset()


def test_a_refusal_is_a_success():
    """The upstream is well; how long a refusal takes says nothing of answers."""
    health = failing(A, times=LIMITS.failures - 1)
    health.worked(A.id, None, 0.0, 0.5)
    health.failed(A.id, 1.0, 1.0)
    assert health.resting(1.0) == frozenset()
    assert health.view(1.0).candidates[A.id].duration_s is None


def test_streams_that_begin_and_break():
    """They are failures in a row, though each began well; the wait for its first byte counts."""
    health = Health()
    for i in range(LIMITS.failures):
        health.streaming(A.id, None, i, i + 0.5)
        health.failed(A.id, i, i + 0.6)
    assert health.resting(5.0) == {A.id}
    assert health.view(5.0).candidates[A.id].first_byte_s == 0.5

    health.streaming(A.id, None, 20.0, 20.5)  # ends the rest
    assert health.resting(20.5) == frozenset()
    health.ended(A.id, 20.0, 21.0)
    assert health.view(21.0).candidates[A.id].failures == 0


def test_everything_is_forgotten():
    """After minutes without a word a candidate is like one that was never asked."""
    health = failing(A)
    health.answered(B.id, None, 0.0, 1.0)
    assert health.resting(1.0) == {A.id}
    assert health.resting(1000.0) == frozenset()
    assert not health.troubled
    assert health.latencies(1000.0, streamed=False) == {}
    assert health.view(1000.0).candidates == {}


def test_where_nobody_else_can_serve():
    """Whoever rests is asked, one request at a time."""
    health = failing(A)
    assert health.admits_last(A, 1.0)
    assert not health.admits_last(A, 1.0)
    health.failed(A.id, 1.0, 2.0)
    assert health.admits_last(A, 2.0)
    health.answered(A.id, None, 2.0, 3.0)
    assert health.admits_last(A, 3.0)
    assert health.admits_last(A, 3.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "good", "bad", "leave", "limited", "refused"]),
            st.floats(0, 30),
        ),
        max_size=80,
    )
)
def test_whatever_happens(steps):
    """Who is admitted was not resting, a trial is one request, and quiet minutes heal everything."""
    health, now = Health(Limits(failures=2)), 0.0
    asked: list[float] = []
    trials: list[float] = []
    key = A.endpoint.provider.credentials[0]
    for what, wait_s in steps:
        now += wait_s
        if what == "ask":
            rested = A.id in health.resting(now)
            admitted = health.admits(A, now)
            assert admitted is not rested
            vitals = health.troubled.get(A.id)
            if admitted and vitals is not None and vitals.breaker.is_open:
                assert not trials or now >= trials[-1] + 10.0 or trials[-1] not in asked
                trials.append(now)
            if admitted:
                asked.append(now)
            continue
        if not asked:
            continue
        began = asked.pop(0)
        match what:
            case "good":
                health.answered(A.id, key, began, now)
            case "bad":
                health.failed(A.id, began, now)
            case "leave":
                health.abandoned(A.id, began, now)
            case "limited":
                health.rest(A, key, began, now, LIMITED, 20.0)
                assert A.id in health.resting(now)
            case _:
                health.rest(A, key, began, now, REFUSED)
    later = now + 1000.0
    assert health.resting(later) == frozenset()
    assert health.admits(A, later)
    assert not health.troubled
    assert health.view(later).credentials == ()


def test_other_limits():
    """They hold for whoever is known, too."""
    health = failing(A, times=2)
    health.use(Limits(failures=3, rest_s=1.0))
    health.failed(A.id, 1.0, 1.0)
    assert health.resting(1.9) == {A.id}
    assert health.resting(2.0) == frozenset()


# --- credentials ----------------------------------------------------------------------


def test_a_retry_after_rests_at_once():
    """For as long as the upstream says, and nobody asks before; a failure does not shorten it."""
    health = Health()
    health.rest(A, A.endpoint.provider.credentials[0], 0.0, 0.0, LIMITED, 60.0)
    for _ in range(LIMITS.failures):
        health.failed(A.id, 1.0, 1.0)
    assert health.resting(59.9) == {A.id}
    assert not health.admits_last(A, 59.9)
    rest = health.rest_of(A, 59.9)
    assert rest is not None
    assert rest.reason == LIMITED
    assert health.rest_of(A, 60.0) is None
    assert health.admits(A, 60.0)


def test_a_retry_after_has_an_end():
    """A day is not believed, a moment is."""
    health, key = Health(), A.endpoint.provider.credentials[0]
    health.rest(A, key, 0.0, 0.0, BUSY, 86400.0)
    assert health.rest_of(A, 599.9) is not None
    assert health.resting(600.0) == frozenset()
    health.rest(A, key, 600.0, 600.0, LIMITED, 0.5)
    assert health.resting(600.4) == {A.id}
    assert health.resting(600.5) == frozenset()


def test_a_limit_is_of_one_credential_model_and_endpoint():
    """The candidate itself rests when all its credentials do, until the first of them is back."""
    two = candidate("a", keys=2)
    first, second = two.endpoint.provider.credentials
    other = attrs.evolve(two, model=Model("n", "a", "up"))
    health = Health()
    health.rest(two, first, 0.0, 0.0, LIMITED, 30.0)
    assert health.resting(1.0) == frozenset()
    assert health.admits(two, 1.0)
    assert {health.credential(two, 1.0) for _ in range(4)} == {second}
    assert {health.credential(other, 1.0) for _ in range(4)} == {first, second}

    health.rest(two, second, 1.0, 1.0, LIMITED, 9.0)
    assert health.resting(2.0) == {two.id}
    rest = health.rest_of(two, 2.0)
    assert rest is not None
    assert rest.until == 10.0
    assert health.resting(10.0) == frozenset()
    assert health.credential(two, 10.0) is second


def test_a_refused_credential_rests_for_longer():
    """But not for ever; and where there is no other it is tried, one request at a time."""
    health, key = Health(), A.endpoint.provider.credentials[0]
    health.rest(A, key, 0.0, 0.0, REFUSED)
    assert health.resting(LIMITS.credential_rest_s - 0.1) == {A.id}
    assert health.resting(LIMITS.credential_rest_s) == frozenset()
    health.rest(A, key, 100.0, 100.0, REFUSED)
    assert health.admits_last(A, 101.0)
    assert not health.admits_last(A, 101.0)
    assert health.credential(A, 101.0) is key
    health.answered(A.id, key, 101.0, 102.0)
    assert health.resting(102.0) == frozenset()


def test_a_credential_that_is_replaced_is_asked_with_at_once():
    """Within a second, though nobody asks with it meanwhile."""

    class Renewed(Secret):
        def look_again(self):
            self.version = 1

    key = Renewed("sk-canary", "KEY")
    provider = Provider("a", credentials=(key,))
    own = attrs.evolve(A, endpoint=attrs.evolve(A.endpoint, provider=provider))
    health = Health()
    health.rest(own, key, 0.0, 0.0, REFUSED)
    assert health.resting(1.0) == frozenset()


def test_the_view_has_names_and_no_values():
    """What an operator needs to know of a credential."""
    health = Health()
    health.rest(A, A.endpoint.provider.credentials[0], 0.0, 0.0, REFUSED)
    view = health.view(1.0)
    assert view.credentials == (CredentialHealth(A.id, "KEY_0", REFUSED, 60.0),)
    assert "canary" not in repr(view)


# --- latency --------------------------------------------------------------------------


def test_streams_and_whole_answers_apart():
    """A first byte comes long before the last."""
    health = Health()
    health.answered(A.id, None, 0.0, 8.0)
    health.streaming(A.id, None, 8.0, 8.5)
    health.streaming(B.id, None, 8.0, 9.5)
    assert health.latencies(10.0) == {A.id: 0.5, B.id: 1.5}
    assert health.latencies(10.0, streamed=False) == {A.id: 8.0}
    assert health.latencies(10.0, streamed=False)[B.id] == 8.0


def test_medians_are_worked_out_once_a_second():
    """Not for every request; and what was given out does not change."""
    health = Health()
    health.streaming(A.id, None, 0.0, 1.0)
    given = health.latencies(1.0)
    health.streaming(A.id, None, 0.0, 3.0)
    assert health.latencies(1.9) is given
    assert health.latencies(2.0) == {A.id: 2.0}
    assert given == {A.id: 1.0}


@pytest.mark.parametrize("keys", [0, 1])
def test_one_credential_or_none_needs_no_turn(keys):
    """And nothing is kept for it."""
    only = candidate("a", keys=keys)
    health = Health()
    expected = only.endpoint.provider.credentials[0] if keys else None
    assert health.credential(only, 0.0) is expected
    assert health.view(0.0).candidates == {}


def test_readings_are_one_value_until_they_change():
    """Within a second; a candidate that rests is seen at once, and so is the end of its rest."""
    health = Health()
    calm = health.readings(1.0)
    assert calm == (frozenset(), {}, {})
    assert health.readings(1.5) is calm
    for _ in range(LIMITS.failures):
        health.failed(A.id, 1.6, 1.6)
    assert health.readings(1.7)[0] == {A.id}
    assert health.readings(1.6 + REST_S)[0] == frozenset()
    assert health.admits(A, 1.6 + REST_S)
    assert health.readings(1.6 + REST_S)[0] == {A.id}  # somebody tries it
    health.answered(B.id, None, 2.0, 4.0)
    assert health.readings(20.0)[1:] == ({B.id: 2.0}, {})
