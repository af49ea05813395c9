"""Sums are exact, by whatever they are asked for."""

import pytest

from lowproxy.store import ledger_books as books
from lowproxy.store.ledger_rows import Rows
from lowproxy.store.ledger_sums import BY, sums
from lowproxy.store.migrations import migrate
from tests.store.records import NOON, impact, record

DAY_S = 86_400


@pytest.fixture
def kept(database):
    """Three days of two keys: 40 good requests, one that failed, one without an estimate."""
    migrate(database)
    make = Rows()
    made = [record(n, created_at=NOON + n % 3 * DAY_S) for n in range(40)]
    made.append(
        record(
            50,
            key_id="bob",
            status="upstream_error",
            usage=None,
            impact=None,
            cost_nano=None,
            currency=None,
        )
    )
    made.append(record(51, key_id="bob", impact=None, currency="USD", cost_nano=1))
    books.put(database, [make.of(each) for each in made])
    return database


@pytest.mark.parametrize("by", BY)
def test_every_way_to_sum_finds_all(kept, by):
    """Nothing is in two lines or in none."""
    found = sums(kept, (by,), 0, NOON * 2)

    assert sum(each.requests for each in found) == 42
    assert sum(each.cost_nano or 0 for each in found) == 40 * 12_345 + 1
    assert sum(each.prompt_tokens for each in found) == 41 * 100


def test_a_day_is_utcs(kept):
    """As ISO 8601 has it."""
    found = sums(kept, ("day",), 0, NOON * 2, key="alice")

    assert [each.of for each in found] == [
        ("2026-11-21",),
        ("2026-11-22",),
        ("2026-11-23",),
    ]
    assert [each.requests for each in found] == [14, 13, 13]


def test_by_several(kept):
    """Moneys of two currencies are never one number."""
    found = {
        (*each.of, each.currency): each
        for each in sums(kept, ("key", "model"), 0, NOON * 2)
    }

    assert set(found) == {
        ("alice", "acme/small", "EUR"),
        ("bob", "acme/small", None),
        ("bob", "acme/small", "USD"),
    }
    alice = found["alice", "acme/small", "EUR"]
    assert alice.energy_wh == pytest.approx(impact().energy_wh * 40)
    assert alice.carbon_g_high == pytest.approx(impact().carbon_g_high * 40)
    failed = found["bob", "acme/small", None]
    assert (failed.failed, failed.cost_nano, failed.energy_wh) == (1, None, None)
    assert found["bob", "acme/small", "USD"].unweighed == 1


def test_the_time_is_half_open(kept):
    """From the first moment, up to and without the last."""
    assert sum(s.requests for s in sums(kept, ("day",), NOON, NOON + DAY_S)) == 16
    assert sums(kept, ("day",), 0, NOON) == []
