"""Sums per kind of request: what is added, and that their number is bounded."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy import tally
from lowproxy.core.usage import Usage
from lowproxy.tally import Row, Tally, by_kind, token_time_ms
from tests.test_metrics import RECORD


def test_one_row_for_what_is_alike():
    """A kind is told apart by endpoint, place, form and outcome, and by nothing else."""
    counted = Tally()
    for number in range(3):
        alike = RECORD._replace(
            generation_id=str(number), key_id=str(number), duration_ms=number
        )
        counted.count([alike])
    counted.count([RECORD._replace(status="partial")])
    rows = {kind.status: row for kind, row in counted.rows()}
    assert rows["ok"].requests == 3
    assert rows["ok"].duration_ms == 3
    assert rows["partial"].requests == 1


KINDS = st.builds(
    lambda status, streamed, usage, first_ms, took_ms, wasted: RECORD._replace(
        status=status,
        streamed=streamed,
        usage=usage,
        latency_ms=first_ms,
        duration_ms=took_ms,
        wasted=wasted,
        cost_nano=None if usage is None else usage.prompt,
    ),
    st.sampled_from(["ok", "partial"]),
    st.booleans(),
    st.none() | st.builds(Usage, st.integers(0, 10**6), st.integers(0, 10**6)),
    st.none() | st.integers(0, 10**6),
    # Also what stands on a bound.
    st.integers(0, 10**6) | st.sampled_from([10, 1000, 10**9]),
    st.none() | st.just((0.5, 0.25)),
)


def counted_by(records, together):
    """Rows and attempts of a tally of these records."""
    made = Tally()
    for alike in by_kind(records) if together else [[each] for each in records]:
        made.count(alike)
    rows = {
        kind: {name: getattr(row, name) for name in Row.__slots__}
        for kind, row in made.rows()
    }
    return rows, made.attempts, len(made.recent)


@given(st.lists(KINDS, max_size=40))
def test_together_they_count_as_one_by_one(records):
    """Every sum, every bucket, however many there are of a kind."""
    rows, attempts, recent = counted_by(records, together=True)
    single_rows, single_attempts, single_recent = counted_by(records, together=False)
    assert (attempts, recent) == (single_attempts, single_recent)
    assert rows.keys() == single_rows.keys()
    for kind, sums in rows.items():
        for name, amount in sums.items():
            assert amount == pytest.approx(single_rows[kind][name]), name


def test_one_that_cannot_be_added_counts_nothing():
    """The others of its kind can then be counted by themselves."""
    counted, wrong = Tally(), cast(float, "long")
    with pytest.raises(TypeError):
        counted.count([RECORD, RECORD._replace(duration_ms=wrong)])
    assert not list(counted.rows())
    assert not counted.attempts


def test_kinds_are_bounded(monkeypatch):
    """Past the bound a request is counted as somebody else's."""
    monkeypatch.setattr(tally, "MOST_KINDS", 5)
    counted = Tally()
    for number in range(50):
        counted.count([RECORD._replace(resolved_model=f"m{number}")])
    rows = {kind.model: row.requests for kind, row in counted.rows()}
    assert len(rows) == 6
    assert rows["other"] == 45


@pytest.mark.parametrize(
    "changes",
    [
        {"streamed": False},
        {"status": "partial"},
        {"usage": None},
        {"usage": Usage(10, 20, counted=True)},
        {"usage": Usage(10, 1)},
        {"usage": Usage(10, 20, reasoning=19)},
        {"latency_ms": None},
    ],
)
def test_no_time_per_token_is_made_up(changes):
    """Only of a complete stream whose provider counted its tokens."""
    assert token_time_ms(RECORD._replace(**changes)) is None


def test_the_time_per_token():
    """From the first byte on, by the tokens that were shown after the first."""
    seen = RECORD._replace(usage=Usage(10, 20, reasoning=9))
    assert token_time_ms(seen) == pytest.approx((1500 - 120) / 10)
