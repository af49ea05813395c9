"""Histograms and sums, as a scrape sees them."""

from lowproxy.sums import Counter, Histogram, Spread, Sum
from lowproxy.tally import Tally
from tests.test_metrics import RECORD


def test_a_bound_belongs_to_its_bucket():
    """`le` is less or equal."""
    histogram = Histogram("x", "x", (1, 2))
    for seconds in (0.5, 1, 1.5, 2, 3):
        histogram.observe(seconds)
    buckets = {
        sample.labels["le"]: sample.value
        for sample in histogram.family().samples
        if sample.name == "x_bucket"
    }
    assert buckets == {"1.0": 2, "2.0": 4, "+Inf": 5}


def test_a_counter_grows():
    """Per combination of labels."""
    counter = Counter("x", "x", ("a",))
    counter.add(("1",))
    counter.add(("1",), 2)
    counter.add(("2",))
    assert [sample.value for sample in counter.family().samples] == [3, 1]


def test_a_sum_adds_over_rows():
    """Rows that differ in what is no label are one sample; zeros are none."""
    tally = Tally()
    for _ in range(2):
        tally.count([RECORD])
    rows = list(tally.rows())
    by_kind = Sum("x", "x", (), {"in": "prompt", "none": "cached"}, "kind")
    (sample,) = by_kind.family(rows * 2).samples
    assert (sample.labels, sample.value) == ({"kind": "in"}, 40)
    assert (
        not Sum("x", "x", (), {"": "requests"}, of=lambda kind: False)
        .family(rows)
        .samples
    )


def test_a_spread_adds_over_rows():
    """Buckets and sum, in the unit of the metric."""
    tally = Tally()
    tally.count([RECORD])
    bounds = tuple(range(14))
    spread = Spread(
        "x", "x", ("model",), bounds, {"": ("durations", "duration_ms")}, scale=1000
    )
    samples = spread.family(list(tally.rows()) * 3).samples
    values = {s.name: s.value for s in samples if s.labels == {"model": "acme/small"}}
    assert values == {"x_count": 3, "x_sum": 4.5}
