"""Sums per kind of request: what is added, and that their number is bounded."""

import pytest

from lowproxy import tally
from lowproxy.core.usage import Usage
from lowproxy.tally import Tally, token_time_ms
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
