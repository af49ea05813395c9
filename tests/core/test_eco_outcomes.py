"""Answers cut short, tried in vain or given from a store."""

import pytest

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.eco_outcomes import from_cache, partial, wasted
from lowproxy.core.usage import Usage

FRANCE = CarbonIntensity("FR", 41.4, 41.4, 41.4, "test", "2025")
FACTS = ModelFacts(70, 70, 16, source="https://example.org")
RATES = DEFAULT.coefficients(FACTS, FRANCE, 1.2)


def test_a_partial_answer_costs_its_tokens_and_says_so():
    """The tokens seen so far, at the ordinary rate."""
    cut = partial(RATES, Usage(500, 40), ("arch",))

    assert cut.energy_wh == RATES.impact(Usage(500, 40)).energy_wh
    assert cut.notes == ("arch", "partial")


def test_an_answer_from_the_store_costs_nothing_upstream():
    """All figures are zero, and the note says why; what was unknown stays so."""
    again = from_cache(RATES.impact(Usage(500, 300)))

    assert (again.energy_wh, again.energy_wh_high, again.carbon_g) == (0, 0, 0)
    assert again.embodied_g == 0
    assert again.water_ml is None
    assert again.notes == ("upstream-cache",)


def test_failed_attempts_add_up():
    """As far as they are known: one without usage is not invented."""
    one, other = RATES.impact(Usage(500, 10)), RATES.impact(Usage(500, 20))

    energy_wh, carbon_g = wasted([one, None, other])
    assert energy_wh == pytest.approx(one.energy_wh + other.energy_wh)
    assert carbon_g == pytest.approx(one.carbon_g + other.carbon_g)
    assert wasted([]) == (0, 0)
