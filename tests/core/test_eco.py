"""The values of an estimate."""

import pytest

from lowproxy.core.eco import Basis, CarbonIntensity, EcoImpact, ModelFacts
from lowproxy.core.usage import Usage


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


def test_an_impact_with_other_values():
    """Of its own or of its basis; the first one stays as it is."""
    basis = Basis("medium", "v9", CarbonIntensity("FR", 40, 40, 40, "ember", "2025"))
    impact = EcoImpact(1.0, 0.5, 2.0, 0.04, 0.02, 0.08, Usage(1, 1), basis)
    other = impact.but(energy_wh=3.0, notes=("partial",))

    assert (other.energy_wh, other.notes, other.grid) == (3.0, ("partial",), basis.grid)
    assert (impact.energy_wh, impact.notes) == (1.0, ())
    assert other != impact == impact.but()
