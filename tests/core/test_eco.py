"""The values of an estimate."""

import pytest

from lowproxy.core.eco import ModelFacts


def test_a_published_size_is_its_own_range():
    """Both ends are the size itself."""
    facts = ModelFacts(235, 22)

    assert set(facts.total_range_b) == {235}
    assert set(facts.active_range_b) == {22}


def test_a_guessed_size_keeps_its_ends():
    """The plain fields hold the middle."""
    facts = ModelFacts(440, 88, active_low_b=44, active_high_b=132)

    assert set(facts.total_range_b) == {440}
    assert list(facts.active_range_b) == [44, 132]


def test_values_cannot_be_changed():
    """They are shared by all requests to a model."""
    with pytest.raises(AttributeError):
        ModelFacts(8, 8).total_params_b = 9  # type: ignore[misc]
