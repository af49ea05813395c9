"""Weighing: model sizes, grid readings and a method, per candidate."""

import pytest

from lowproxy.core.eco import ModelFacts
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Provider
from lowproxy.core.usage import Usage
from lowproxy.grid.annual import AnnualGrid
from lowproxy.grid.model_table import load_models
from lowproxy.server.scales import TYPICAL, Scales

FACTS = ModelFacts(total_params_b=24, active_params_b=24)


@pytest.fixture(scope="module")
def scales():
    """With the tables that are shipped."""
    return Scales(DEFAULT, load_models(), AnnualGrid.load())


def candidate(facts=FACTS, zone="FR", provider="acme", model="acme/unheard-of-x"):
    """One way to serve."""
    endpoint = Endpoint(f"{provider}-{zone}", Provider(provider), "eu-west", "", zone)
    return Candidate(Model(model, provider, "m", facts=facts), endpoint)


def test_an_answer_is_weighed(scales):
    """More tokens weigh more; a dirtier grid weighs more."""
    small = scales.weigh(candidate(), Usage(10, 10))
    large = scales.weigh(candidate(), Usage(10, 100))
    dirty = scales.weigh(candidate(zone="PL"), Usage(10, 10))
    assert 0 < small.energy_wh < large.energy_wh
    assert small.energy_wh == dirty.energy_wh
    assert small.carbon_g < dirty.carbon_g
    assert small.tokens == Usage(10, 10)


def test_what_is_unknown_is_not_weighed(scales):
    """No size, no figures; no tokens, no figures."""
    unknown = candidate(facts=None, model="acme/never-heard-of")
    assert scales.weigh(unknown, Usage(1, 1)) is None
    assert scales.weigh(candidate(), None) is None
    assert scales.typical(unknown.model, unknown.endpoint) == (None, None)


def test_the_table_knows_models_by_name(scales):
    """A row without sizes takes them from the shipped table."""
    known = candidate(facts=None, model="openai/gpt-4o-mini")
    assert scales.weigh(known, Usage(10, 10)) is not None


def test_a_demo_says_so(scales):
    """Its figures are about no real model."""
    assert "demo" in scales.weigh(candidate(provider="demo"), TYPICAL).notes
    assert "demo" not in scales.weigh(candidate(), TYPICAL).notes


def test_what_routing_compares_by(scales):
    """Grams per thousand tokens of a typical request, and the price."""
    one = candidate()
    grams, price = scales.typical(one.model, one.endpoint)
    assert grams == scales.weigh(one, TYPICAL).carbon_per_1k_tokens_g
    assert price is None


def test_one_model_at_two_places(scales):
    """What was worked out for one place is not used for another."""
    here, there = candidate(zone="FR"), candidate(zone="PL")
    for _ in range(2):
        assert (
            scales.weigh(here, TYPICAL).carbon_g < scales.weigh(there, TYPICAL).carbon_g
        )


def test_the_reading_of_a_place(scales):
    """The zone's own where it is named, else the region's."""
    assert scales.reading(candidate(zone="FR").endpoint).zone == "FR"
    assert scales.reading(candidate(zone=None).endpoint).grams_per_kwh > 0
