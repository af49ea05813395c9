"""What observers see of a candidate, and what its latency is taken to be."""

from lowproxy.core.breaker import Limits
from lowproxy.core.rotation import LIMITED, Rest, Rotation
from lowproxy.core.vitals import PRIOR_S, CandidateHealth, Latencies, Vitals
from lowproxy.core.waits import Waits


def waits(*seconds):
    made = Waits()
    for each in seconds:
        made.append((0.0, each))
    return made


def test_who_is_not_known_is_as_good_as_the_others():
    """The median of those that are; where nobody is, a second."""
    known = Latencies.of(
        {"a": waits(1.0, 2.0, 9.0), "b": waits(8.0), "c": waits(3.0)}, 0.0
    )
    assert known == {"a": 2.0, "b": 8.0, "c": 3.0}
    assert known["d"] == 3.0
    assert "d" not in known
    assert Latencies()["a"] == PRIOR_S


def test_nothing_is_known_at_first():
    """And nothing is made up."""
    assert Vitals(Limits()).seen(0.0) == CandidateHealth(
        "closed", 0, None, None, None, None
    )


def test_closed_open_half_open():
    """With the time until when it rests."""
    vitals = Vitals(Limits(failures=2, rest_s=10))
    vitals.breaker.failed(0.0, 0.0)
    assert (vitals.seen(0.0).state, vitals.seen(0.0).failures) == ("closed", 1)
    vitals.breaker.failed(0.0, 0.0)
    seen = vitals.seen(9.0)
    assert (seen.state, seen.resting_until, seen.error_rate) == ("open", 10.0, 1.0)
    assert vitals.rests(9.0)
    assert vitals.seen(10.0).state == "half_open"
    assert not vitals.rests(10.0)
    vitals.trial = 10.0
    assert vitals.rests(11.0)
    assert vitals.changes_at(11.0) == 20.0
    assert not vitals.rests(20.0)  # a trial that takes so long holds up nobody


def test_a_candidate_rests_where_all_its_credentials_do():
    """Until the first of them may be asked with."""
    vitals = Vitals(Limits())
    vitals.rotation = Rotation(())
    vitals.rotation.rest(None, Rest(30.0, 0.0, LIMITED, True, 0))
    assert vitals.in_trouble(29.0)
    assert vitals.rests(29.0)
    assert vitals.seen(29.0).resting_until == 30.0
    assert vitals.changes_at(0.0) in (10.0, 30.0)
    assert not vitals.in_trouble(30.0)
