"""Who has been failing rests, and comes back by itself."""

from lowproxy.core.health import FAILURES, REST_S, Health


def test_three_failures_in_a_row():
    """Fewer are chance; a success between them starts the count again."""
    health = Health()
    for _ in range(FAILURES - 1):
        health.failed("a", 0.0)
    assert health.resting(0.0) == frozenset()
    health.succeeded("a")
    for _ in range(FAILURES - 1):
        health.failed("a", 0.0)
    assert health.resting(0.0) == frozenset()

    health.failed("a", 1.0)
    assert health.resting(1.0) == {"a"}
    assert health.resting(0.99 + REST_S) == {"a"}
    assert health.resting(1.0 + REST_S) == frozenset()


def test_after_the_rest_one_failure_is_enough():
    """It is tried again, and rests again at once where nothing has changed."""
    health = Health()
    for _ in range(FAILURES):
        health.failed("a", 0.0)
    later = REST_S + 5
    assert health.resting(later) == frozenset()

    health.failed("a", later)
    assert health.resting(later + REST_S - 1) == {"a"}
    health.succeeded("a")
    assert health.resting(later) == frozenset()


def test_a_retry_after_rests_at_once():
    """For as long as the upstream says; a shorter one does not shorten a longer."""
    health = Health()
    health.failed("a", 0.0, rest_s=30.0)
    health.failed("a", 1.0, rest_s=2.0)

    assert health.resting(29.9) == {"a"}
    assert health.resting(30.0) == frozenset()


def test_a_failure_does_not_shorten_a_retry_after():
    """An upstream that asked for a minute is not asked again after ten seconds."""
    health = Health()
    health.failed("a", 0.0, rest_s=60.0)
    for _ in range(FAILURES):
        health.failed("a", 1.0)

    assert health.resting(59.0) == {"a"}


def test_candidates_apart():
    """One endpoint's trouble is not another's."""
    health = Health()
    health.failed("a", 0.0, rest_s=10.0)
    health.failed("b", 0.0)

    assert health.resting(1.0) == {"a"}
    assert Health().resting(0.0) == frozenset()
