"""Weighing: model sizes, grid readings and a method, per candidate."""

import attrs
import pytest

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.grid_reading import marginal_key
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
    assert scales.typical(unknown.model, unknown.endpoint) == (None,) * 3 + (
        "FR",
        None,
        None,
    )


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
    typical = scales.typical(one.model, one.endpoint)
    weighed = scales.weigh(one, TYPICAL)
    assert typical.carbon_g_per_1k == weighed.carbon_per_1k_tokens_g
    assert typical.price_per_1k is None
    assert typical.zone == "FR"


@pytest.mark.parametrize("tokens", [(0, 1), (500, 500), (9000, 20), (3, 4000)])
def test_what_is_expected_is_what_will_be_weighed(scales, tokens):
    """For any size: routing and accounting are of one mind."""
    one = candidate()
    expected = scales.typical(one.model, one.endpoint).grams.of(*tokens)
    assert expected == pytest.approx(scales.weigh(one, Usage(*tokens)).carbon_g)


def test_the_zone_of_a_place(scales):
    """By its row, else by a region that lies in one zone; a blend is in none."""
    for region, zone in (("eu-west", None), ("uk", "GB")):
        endpoint = Endpoint(region, Provider("acme"), region, "", None)
        assert scales.typical(candidate().model, endpoint).zone == zone


def test_published_speed(scales):
    """Of a model that the table knows."""
    known = candidate(facts=None, model="openai/gpt-4o-mini")
    assert scales.typical(known.model, known.endpoint).tokens_per_s > 0


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


@pytest.fixture
def own():
    """Scales that no other test sees."""
    return Scales(DEFAULT, load_models(), AnnualGrid.load())


def live(zone, grams, factor="lifecycle"):
    """Live readings of one zone."""
    at = "2026-11-22T10:00:00Z"
    reading = CarbonIntensity(
        zone, grams, grams, grams, "test", at, factor=factor, live=True
    )
    return {zone: reading}


def test_a_live_reading_takes_effect_where_it_is_of(own):
    """From the next answer on; what stands elsewhere is not worked out again."""
    here, there = candidate(zone="FR"), candidate(zone="PL")
    annual = own.weigh(here, TYPICAL)
    own.weigh(there, TYPICAL)
    kept = own._worked["acme/unheard-of-x", there.endpoint.id]
    own.use(live("FR", 10.0))
    weighed = own.weigh(here, TYPICAL)
    assert weighed.energy_wh == annual.energy_wh
    assert weighed.carbon_g == pytest.approx(weighed.energy_wh * 10 / 1000)
    assert (weighed.grid.live, weighed.grid.source) == (True, "test")
    typical = own.typical(here.model, here.endpoint)
    assert typical.carbon_g_per_1k == weighed.carbon_per_1k_tokens_g
    assert own._worked["acme/unheard-of-x", there.endpoint.id] is kept
    own.use({})
    assert own.weigh(here, TYPICAL) == annual


def test_direct_factors_weigh_and_do_not_rank(own):
    """Beside life cycle factors they would win by definition."""
    here = candidate(zone="FR")
    annual = own.typical(here.model, here.endpoint)
    own.use(live("FR", 10.0, "direct"))
    assert own.typical(here.model, here.endpoint) == annual
    assert own.weigh(here, TYPICAL).grid.factor == "direct"


def marginal(**grams):
    """Live marginal readings by zone."""
    return {
        marginal_key(zone): attrs.evolve(live(zone, value)[zone], kind="marginal")
        for zone, value in grams.items()
    }


def test_marginal_readings_rank_and_never_weigh():
    """Where the operator wants it; the answer's grams stay average, whatever the signal says."""
    here, there = candidate(zone="FR"), candidate(zone="PL")
    plain = Scales(DEFAULT, load_models(), AnnualGrid.load())
    by_margin = Scales(DEFAULT, load_models(), AnnualGrid.load(), "marginal")
    readings = marginal(FR=700.0, PL=70.0)
    for scales in (plain, by_margin):
        before = scales.weigh(here, TYPICAL)
        scales.use(readings)
        assert scales.weigh(here, TYPICAL) == before
        assert scales.reading(here.endpoint).kind == "average"
    average = plain.typical(here.model, here.endpoint)
    assert average.ranked is average.grams
    ranks = [by_margin.typical(c.model, c.endpoint) for c in (here, there)]
    assert ranks[0][:5] == average[:5]
    grams = [rank.grams.of(500, 300) for rank in ranks if rank.grams]
    assert grams[0] < grams[1]
    by_rank = [rank.ranked.of(500, 300) for rank in ranks if rank.ranked]
    ratio = by_rank[0] / by_rank[1]
    assert ratio == pytest.approx(10)


def test_marginal_and_average_are_not_compared():
    """Who has no marginal rate is unknown beside those who have; when nobody has one all go by averages."""
    here, there = candidate(zone="FR"), candidate(zone="PL")
    scales = Scales(DEFAULT, load_models(), AnnualGrid.load(), "marginal")
    scales.use(marginal(FR=700.0))
    assert scales.typical(here.model, here.endpoint).ranked is not None
    assert scales.typical(there.model, there.endpoint).ranked is None
    scales.use(live("FR", 10.0))
    for each in (here, there):
        typical = scales.typical(each.model, each.endpoint)
        assert typical.ranked is typical.grams


def test_counted_tokens_say_so(scales):
    """Who reads the figure is told that the upstream sent no usage."""
    counted = scales.weigh(candidate(), Usage(10, 10, counted=True))
    assert "usage-counted" in counted.notes
    assert "usage-counted" not in scales.weigh(candidate(), Usage(10, 10)).notes
