"""What the decisions that are timed are about."""

from typing import Any

from benchmarks.micro.decisions import decisions, pool_of


def test_they_are_what_their_names_say():
    """Ten candidates, or twenty of two hundred, remembered or not: the same decision."""
    calls: dict[str, Any] = {stage.name: stage.call for stage in decisions()}

    assert len(calls) == 10
    for name, call in calls.items():
        count = 20 if "200" in name else 10
        decision = call()
        assert len(decision.candidates) == count, name
        if "remembered" in name:
            assert call() is decision
            assert decision == calls[name.removesuffix(", remembered")]()
        else:
            assert call() is not decision


def test_the_pool():
    """Every place has its own numbers, and all of them are known."""
    (rows,) = pool_of(200, 10).by_model.values()

    assert len(rows) == 200
    assert len({c.grams for c in rows}) == 200
    assert not any(c.gaps for c in rows)
    assert sum(c.region == "region-0" for c in rows) == 20
