"""When failures are trouble, when it is over, and what fades."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.breaker import Breaker, Limits

LIMITS = Limits()


def failing(times, at=0.0, limits=LIMITS):
    """A breaker after so many failures in a row."""
    breaker = Breaker(limits)
    for _ in range(times):
        breaker.failed(at, at)
    return breaker


def test_failures_in_a_row():
    """Fewer are chance; a success between them starts the count again."""
    breaker = failing(LIMITS.failures - 1)
    breaker.succeeded(0.0, 0.0)
    assert not breaker.failed(0.0, 0.0)
    assert not breaker.is_open
    assert breaker.failures == 1

    breaker = failing(LIMITS.failures - 1)
    assert breaker.failed(1.0, 1.0)
    assert breaker.is_open
    assert breaker.rests_until == 1.0 + LIMITS.rest_s


def test_one_bad_request_of_an_sdk_is_no_trouble():
    """It is asked again twice by itself."""
    assert not failing(3).is_open


def test_many_failures_though_not_in_a_row():
    """Half of the recent requests, once there were enough of them."""
    breaker = Breaker(LIMITS)
    for i in range(9):
        (breaker.failed if i % 2 else breaker.succeeded)(0.0, 0.0)
    assert not breaker.is_open
    assert breaker.failed(0.0, 0.0)
    assert breaker.error_rate(0.0) == 0.5


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=60),
    st.floats(1, 100),
)
def test_the_error_rate_is_the_faded_share(outcomes, half_life_s):
    """What happened a half-life ago counts half; the steps in which it fades blur that a little."""
    limits = Limits(failures=10**6, error_rate=2.0, half_life_s=half_life_s)
    breaker, now, seen = Breaker(limits), 0.0, []
    for is_good, step in outcomes:
        now += step
        (breaker.succeeded if is_good else breaker.failed)(now, now)
        seen.append((now, is_good))
    weights = [(0.5 ** ((now - at) / half_life_s), good) for at, good in seen]
    whole = sum(weight for weight, _ in weights)
    rate = breaker.error_rate(now)
    if rate is None:
        assert whole < 1
    else:
        bad = sum(weight for weight, good in weights if not good)
        blur = 0.5 ** (
            -5.0 / half_life_s
        )  # an outcome may be taken for five seconds younger
        assert bad / whole / blur <= rate + 1e-9
        assert rate <= bad / whole * blur + 1e-9


def test_old_failures_do_not_add_up():
    """Four this morning and one tonight are not five in a row."""
    breaker = failing(LIMITS.failures - 1)
    assert not breaker.failed(5 * 60.1, 5 * 60.1)
    assert breaker.failures == 1
    assert breaker.is_forgotten(1000.0)
    assert breaker.error_rate(10_000.0) is None


def test_a_success_that_began_since_ends_it():
    """And everything before it is forgotten."""
    breaker = failing(LIMITS.failures, at=10.0)
    assert not breaker.succeeded(9.0, 11.0)  # it had begun while all was well
    assert breaker.is_open
    assert breaker.succeeded(20.0, 21.0)
    assert not breaker.is_open
    assert breaker.failures == 0
    assert breaker.error_rate(21.0) is None


def test_a_failure_from_before_changes_nothing():
    """A hundred that hung together run out together, when all is long well again."""
    breaker = failing(LIMITS.failures, at=10.0)
    breaker.succeeded(20.0, 21.0)
    for _ in range(100):
        assert not breaker.failed(15.0, 22.0)
    assert not breaker.is_open


def test_a_failed_trial_rests_again():
    """For as long as the first time."""
    breaker = failing(LIMITS.failures)
    assert breaker.failed(12.0, 13.0)
    assert breaker.rests_until == 13.0 + LIMITS.rest_s


def test_a_stream_that_begins_ends_the_rest_on_probation():
    """Until something ends well one failure is enough."""
    breaker = failing(LIMITS.failures)
    assert breaker.began(12.0, 13.0)
    assert not breaker.is_open
    assert breaker.failed(12.5, 13.5) is False  # it had begun before that
    assert breaker.failed(14.0, 15.0)
    assert breaker.is_open


@pytest.mark.parametrize("is_open", [True, False])
def test_a_beginning_is_no_success(is_open):
    """Streams that begin and break are failures in a row."""
    breaker = failing(LIMITS.failures if is_open else LIMITS.failures - 1)
    assert breaker.began(0.0, 0.0) is is_open
    assert breaker.failures == LIMITS.failures - 1
