"""Two methods over stored requests: sums, bounds, and what was left out."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_compare import (
    BAD_TOKENS,
    NO_MODEL,
    NO_TOKENS,
    NOT_JSON,
    REPLAYED,
    StoredRequest,
    compare,
)
from lowproxy.core.eco_methods import DEFAULT, find_method
from lowproxy.core.usage import Usage

FRANCE = CarbonIntensity("FR", 41.44, 41.44, 41.44, "owid-ember", "2025")
FACTS = ModelFacts(8, 8, 16, "https://example.org/card", "acme/small")
OTHER = find_method("v0.4-compat")


def look(request):
    """One known model in France."""
    return (FACTS if request.model == "acme/small" else None), FRANCE, None


def line(**fields):
    """A line of a file of records."""
    return orjson.dumps({"model": "acme/small", "region": "eu-west", **fields}) + b"\n"


def test_sums_are_of_the_single_estimates():
    """Central values and bounds, per model and in all."""
    lines = [
        line(prompt_tokens=500, completion_tokens=300, cached_tokens=100),
        line(prompt_tokens=10, completion_tokens=20),
    ]
    found = compare(lines, DEFAULT, OTHER, look)
    usages = [Usage(500, 300, 100), Usage(10, 20)]

    for method, sums in ((DEFAULT, found.total.first), (OTHER, found.total.second)):
        impacts = [method.estimate(FACTS, usage, FRANCE, None) for usage in usages]
        for name in ("energy_wh", "energy_wh_low", "carbon_g", "carbon_g_high"):
            expected = sum(getattr(impact, name) for impact in impacts)
            assert getattr(sums, name) == pytest.approx(expected)
    assert found.by_model["acme/small"] == found.total
    assert found.total.requests == 2
    assert found.total.ratio == pytest.approx(
        found.total.second.energy_wh / found.total.first.energy_wh
    )


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (b"gateway started", NOT_JSON),
        (b"[1]", NOT_JSON),
        (
            line(completion_tokens=5, eco={"notes": ["upstream-cache"]}),
            REPLAYED,
        ),
        (b'{"event":"gateway.up"}', NO_MODEL),
        (line(model=None, prompt_tokens=1), NO_MODEL),
        (line(), NO_TOKENS),
        (line(prompt_tokens=None), NO_TOKENS),
        (line(usage={"prompt_tokens": 0}), NO_TOKENS),
        (line(prompt_tokens=-1), BAD_TOKENS),
        (line(prompt_tokens=1.5), BAD_TOKENS),
        (line(prompt_tokens=True), BAD_TOKENS),
        (line(prompt_tokens="5"), BAD_TOKENS),
        (line(prompt_tokens=1, cached_tokens=2), BAD_TOKENS),
        (line(model="acme/none", prompt_tokens=1), "size not known of acme/none"),
    ],
)
def test_what_is_skipped_is_counted_by_reason(written, reason):
    """Nothing is guessed, and nothing is left out in silence."""
    found = compare([written, b"\n"], DEFAULT, OTHER, look)

    assert dict(found.skipped) == {reason: 1}
    assert found.lines == 1
    assert found.total.ratio is None
    assert "ratio" not in found.fields()["total"]


def test_a_record_with_the_usage_object():
    """As exports have it."""
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    found = StoredRequest.parse(line(usage=usage, zone="FR"))

    assert isinstance(found, StoredRequest)
    assert (found.usage, found.zone) == (Usage(9, 4, 3), "FR")


@given(st.lists(st.binary(max_size=60)))
def test_every_line_is_used_or_skipped(lines):
    """Whatever stands in the file."""
    found = compare(lines, DEFAULT, OTHER, look)

    assert found.lines == found.total.requests + found.skipped.total()
