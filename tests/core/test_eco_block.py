"""The `eco` object that callers read."""

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_block import eco_fields, eco_text, six
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.eco_outcomes import from_cache
from lowproxy.core.usage import Usage

FRANCE = CarbonIntensity("FR", 41.44, 41.44, 41.44, "owid-ember", "2025")
FACTS = ModelFacts(70.6, 70.6, 16, "https://example.org", "acme/large")
USAGE = Usage(500, 300)
FIVE = [
    "energy_wh",
    "carbon_g",
    "carbon_per_1k_tokens_g",
    "accuracy",
    "methodology_version",
]


def impact(usage=USAGE, notes=()):
    return DEFAULT.estimate(FACTS, usage, FRANCE, 1.2, notes)


def test_the_short_form_is_the_contract():
    """Five fields, in order, and grams per thousand of all tokens."""
    found = impact()
    fields = eco_fields(found)

    assert list(fields) == FIVE
    assert fields["energy_wh"] == six(found.energy_wh)
    assert fields["carbon_per_1k_tokens_g"] == six(found.carbon_g / 800 * 1000)
    assert fields["methodology_version"] == DEFAULT.version


def test_the_full_form_adds_bounds_and_provenance():
    """Nothing of the short form changes; what is unknown is not there."""
    fields = eco_fields(impact(), full=True)

    assert list(fields)[:5] == FIVE
    assert fields["energy_wh_low"] < fields["energy_wh"] < fields["energy_wh_high"]
    assert fields["method"] == "estimated"
    assert fields["boundary"] == "facility"
    assert fields["pue"] == 1.2
    assert fields["model_ref"] == "acme/large"
    assert fields["tokens"] == {
        "prompt": 500,
        "cached": 0,
        "completion": 300,
        "reasoning": 0,
    }
    assert fields["grid"] == {
        "zone": "FR",
        "intensity_g_per_kwh": 41.44,
        "kind": "average",
        "factor": "lifecycle",
        "source": "owid-ember",
        "at": "2025",
        "live": False,
    }
    assert "water_ml" not in fields
    assert "notes" not in fields


def test_a_demonstration_says_so_in_the_short_form():
    """Other notes wait for the full one."""
    assert eco_fields(impact(notes=("demo",)))["notes"] == ["demo"]
    assert "notes" not in eco_fields(impact(notes=("partial",)))
    assert eco_fields(impact(notes=("partial",)), full=True)["notes"] == ["partial"]


def test_no_tokens_are_no_grams_per_token():
    """An answer that was cut before its first token divides nothing by zero."""
    fields = eco_fields(impact(Usage(0, 0)))

    assert fields["energy_wh"] == 0
    assert fields["carbon_per_1k_tokens_g"] == 0


@given(st.floats(1e-12, 1e12))
def test_six_significant_digits(value):
    """Within half a unit of the sixth digit, and it survives JSON."""
    rounded = six(value)

    assert abs(rounded - value) <= 0.5000001e-5 * abs(value)
    assert orjson.loads(orjson.dumps(rounded)) == rounded
    assert len(f"{rounded:.12e}".split("e")[0].rstrip("0")) <= 7


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_the_text_is_the_fields(prompt, completion, full):
    """Put together by hand or serialised, it is the same object."""
    for notes in ((), ("demo",), ("partial",)):
        found = impact(Usage(prompt, completion), notes)
        assert orjson.loads(eco_text(found, full)) == eco_fields(found, full)


@pytest.mark.parametrize("full", [False, True])
def test_an_answer_that_took_nothing_says_why(full):
    """In the short form, too: a zero without a reason would be a lie."""
    none = from_cache(impact())
    said = orjson.loads(eco_text(none, full))
    assert said["energy_wh"] == said["carbon_g"] == 0
    assert said["notes"][-1] == "upstream-cache"
    assert said == eco_fields(none, full)


def test_the_figures_of_one_basis_are_not_mixed_up():
    """What is rendered once holds none of them; a name with a percent sign is a name."""
    grid = attrs.evolve(FRANCE, source="100%d", zone="%s%")
    coefficients = DEFAULT.coefficients(FACTS, grid, 1.2)
    first, second = coefficients.impact(USAGE), coefficients.impact(Usage(7, 9, 3, 2))
    assert first.basis is second.basis
    for full in (False, True, False):
        for found in (first, second):
            assert orjson.loads(eco_text(found, full)) == eco_fields(found, full)


def test_another_basis_has_another_text():
    """Nothing that was rendered is carried over to what is said differently."""
    found = impact()
    eco_text(found, True)
    other = found.but(notes=("partial",), energy_wh=1.0, embodied_g=None, water_ml=2.0)
    assert orjson.loads(eco_text(other, True)) == eco_fields(other, True)
    assert orjson.loads(eco_text(other)) == eco_fields(other)
