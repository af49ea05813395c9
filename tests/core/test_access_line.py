"""The access line: facts, and the same as text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.access_line import access_facts, access_texts
from lowproxy.core.eco import CarbonIntensity, ModelFacts, Reading
from lowproxy.core.eco_measured import measured
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.record import UsageRecord
from lowproxy.core.usage import Usage

FRANCE = CarbonIntensity("FR", 41.44, 41.44, 41.44, "owid-ember", "2025")
FACTS = ModelFacts(70.6, 70.6, 16, "https://example.org", "acme/large")
RECORD = UsageRecord(
    generation_id="gen_x",
    created_at=1.0,
    completed_at=2.0,
    endpoint="chat",
    http_status=200,
    status="ok",
    error=None,
    key_id=None,
    requested_model=None,
    resolved_model=None,
    provider=None,
    region=None,
    currency=None,
    streamed=False,
    latency_ms=None,
    duration_ms=12.345,
    usage=None,
    impact=None,
    attempts=(),
)
counts = st.integers(0, 10**7)
# Huge, tiny and nought, and what is nearly the next one at six digits.
amounts = st.floats(0, 1e300) | st.sampled_from(
    [0.0, 5e-324, 1e-7, 9.999995e-5, 0.1, 999999.5, 1e6, 1e22]
)
ODD = ['quo"te', "back\\slash", "new\nline", "é€𝄞", "\x00\x7f\u2028", "%s%d%%", "{}"]


@st.composite
def records(draw):
    """A record with anything known or unknown."""
    usage = draw(st.none() | st.builds(Usage, counts, counts, counts, counts))
    impact = None
    if usage is not None and draw(st.booleans()):
        notes = draw(st.sampled_from([(), ("demo",), ("usage-counted", "partial")]))
        impact = DEFAULT.estimate(
            FACTS, usage, FRANCE, draw(st.none() | st.just(1.2)), notes
        )
        if draw(st.booleans()):
            names = ("energy_wh", "energy_wh_high", "carbon_g", "carbon_g_low")
            impact = impact.but(
                **{name: draw(amounts) for name in names},
                embodied_g=draw(st.none() | amounts),
                water_ml=draw(st.none() | amounts),
            )
        elif draw(st.booleans()):
            impact = measured(Reading("greenpt", 0.01, "unstated"), impact, None)
    provider = draw(st.none() | st.just("acme"))
    return RECORD._replace(
        usage=usage,
        impact=impact,
        error=draw(st.none() | st.just("upstream_cut")),
        key_id=draw(st.none() | st.text(min_size=1) | st.sampled_from(ODD)),
        provider=provider,
        region=provider and "eu-west",
        resolved_model=provider and draw(st.text(min_size=1)),
        latency_ms=draw(st.none() | st.floats(0, 1e6)),
        wasted=draw(st.none() | st.tuples(amounts, amounts)),
        streamed=draw(st.booleans()),
        cost_nano=draw(st.none() | st.integers(0, 10**12)),
    )


@given(records())
def test_the_text_says_the_facts(record):
    """Read again, the text is the facts, member by member."""
    assert json.loads(b"{%b}" % access_texts([record])[0]) == access_facts(record)


@given(st.lists(records(), max_size=5))
def test_lines_are_in_the_order_of_the_records(several):
    """What those that are alike share does not bring them together."""
    numbered = [
        each._replace(generation_id=f"gen_{number}")
        for number, each in enumerate([*several, RECORD, *several])
    ]
    told = [json.loads(b"{%b}" % line) for line in access_texts(numbered)]
    assert told == [access_facts(each) for each in numbered]


def test_what_is_unknown_is_left_out():
    """A line of an unknown path has no empty fields."""
    assert set(access_facts(RECORD)) == {
        "generation_id",
        "endpoint",
        "http_status",
        "status",
        "streamed",
        "attempts",
        "duration_ms",
    }
