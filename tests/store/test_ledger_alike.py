"""A short row says what a whole one says: whoever reads cannot tell them apart."""

import json
import math
import weakref
from typing import Any

import attrs
import orjson
import pytest

from lowproxy.core.access_line import access_texts
from lowproxy.core.eco import EcoImpact, Reading
from lowproxy.core.eco_block import six
from lowproxy.core.record import UsageRecord
from lowproxy.core.record_fields import record_fields
from lowproxy.core.routing import RouteDecision, decide
from lowproxy.core.routing_trace import Routed, told_of
from lowproxy.core.trace_kept import read_trace
from lowproxy.core.usage import Usage
from lowproxy.store import ledger_books as books
from lowproxy.store.database import StoreRowError
from lowproxy.store.ledger_alike import ALIKE, FRESH_S, MOST, SHORT, ShortRows
from lowproxy.store.ledger_rows import Rows, named
from lowproxy.store.ledger_sums import sums
from lowproxy.store.migrations import known, migrate
from lowproxy.transport.dispatch import Attempt
from tests.core.test_routing_trace import CHEAP, CLEAN, KEY, POOL, ask
from tests.store.records import NOON, USAGE, impact, record

DECISION = decide(ask(), KEY, POOL)
IMPACT = impact()  # with one reading of the grid, as while that is in force


@pytest.fixture
def ready(database):
    """A database with its tables."""
    migrate(database)
    return database


def routed(*attempts, decision=DECISION):
    """A record's part of how it was routed: candidate, outcome and seconds of each attempt."""
    tried = [Attempt(candidate.id, *rest) for candidate, *rest in attempts]
    return {
        "trace": Routed(decision, tried),
        "attempts": tuple((each.candidate, each.outcome) for each in tried),
    }


def put(database, *records, short=None):
    """Puts them in as the ledger does."""
    books.put_records(database, records, short or ShortRows(), Rows())


RECORDS = {
    "usual": {},
    "routed": routed((CLEAN, "ok", 0.0123)),
    "slow": routed((CLEAN, "ok", 1234.56789)),
    "failed over": routed((CLEAN, "timeout", 1.0), (CHEAP, "ok", 0.2)),
    "failed": {**routed((CLEAN, "timeout", 1.0)), "error": "timeout", "status": "x"},
    "somebody else": routed((POOL.by_model["m"][2], 'with "quotes"', 0.5)),
    "without an attempt": routed(),
    "without a world": routed((CLEAN, "ok", 0.1), decision=RouteDecision((CLEAN,))),
    "refused": {
        "usage": None,
        "impact": None,
        "attempts": (),
        "resolved_model": None,
        "provider": None,
        "region": None,
        "key_id": None,
        "latency_ms": None,
        "cost_nano": None,
        "currency": None,
        "error": "invalid_api_key",
    },
    "wasteful": {"wasted": (0.25, 0.125)},
    "counted": {"usage": Usage(7, 3, counted=True)},
    "too many": {"usage": Usage(10**30, 1)},
    "measured": {
        "impact": impact().but(method="measured", reading=Reading("n", 1.0, "gpu"))
    },
    "watered": {"impact": impact().but(water_ml=1.5, embodied_g=0.25)},
    "told otherwise": {"trace": lambda: {"chosen": "ä"}},
    "an odd name": {"requested_model": "a\0b" + "x" * 1000},
}


@pytest.mark.parametrize("kind", RECORDS)
def test_it_is_read_as_a_whole_row(ready, kind):
    """Every column, whatever the request was."""
    made = record(7, **{"key_id": "alice", **RECORDS[kind]})

    put(ready, made, record(8))

    (found, _) = books.stream(ready, 0, NOON * 2)
    assert found == named(Rows().of(made))
    if made.key_id is not None:
        assert books.find(ready, "gen_000007", "alice") == found


def test_every_value_is_in_its_own_column(ready):
    """Those of one request, all of them different: a record is unpacked by place."""
    weighed = EcoImpact(
        energy_wh=0.125,
        energy_wh_low=0.0625,
        energy_wh_high=0.25,
        carbon_g=0.5,
        carbon_g_low=0.375,
        carbon_g_high=0.75,
        tokens=USAGE,
        basis=attrs.evolve(IMPACT.basis, accuracy="medium"),
        embodied_g=0.03125,
        water_ml=1.5,
    )
    told: dict[str, Any] = {
        "generation_id": "gen_own",
        "created_at": NOON + 1,
        "completed_at": NOON + 3,
        "endpoint": "embeddings",
        "http_status": 207,
        "status": "partial",
        "error": "upstream_cut",
        "key_id": "alice",
        "requested_model": "lowrouter/auto",
        "resolved_model": "acme/small",
        "provider": "acme",
        "region": "eu-west",
        "streamed": 1,
        "latency_ms": 120.5,
        "duration_ms": 1500.25,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "cached_tokens": 10,
        "reasoning_tokens": 5,
        "tokens_counted": 1,
        "cost_nano": 12_345,
        "currency": "EUR",
        "energy_wh": 0.125,
        "energy_wh_low": 0.0625,
        "energy_wh_high": 0.25,
        "carbon_g": 0.5,
        "carbon_g_low": 0.375,
        "carbon_g_high": 0.75,
        "embodied_g": 0.03125,
        "water_ml": 1.5,
        "accuracy": "medium",
        "methodology_version": IMPACT.methodology_version,
        "zone": IMPACT.grid.zone,
        "grid_g_per_kwh": IMPACT.grid.grams_per_kwh,
        "grid_live": 0,
        "wasted_wh": 2.5,
        "wasted_g": 3.5,
        "unreadable_events": 4,
        "attempts": '[["acme-paris/acme/small","upstream_cut"]]',
        "routing_trace": None,
    }
    made = UsageRecord(
        **{name: told[name] for name in UsageRecord._fields if name in told}
        | {
            "streamed": True,
            "usage": Usage(100, 20, 10, 5, counted=True),
            "impact": weighed,
            "attempts": (("acme-paris/acme/small", "upstream_cut"),),
            "wasted": (2.5, 3.5),
        }
    )

    put(ready, made)

    (found,) = books.stream(ready, 0, NOON * 2)
    assert {**found, "eco": None} == {**told, "eco": None}
    line = json.loads(b"{%b}" % access_texts([made])[0])
    assert {**line, "eco": None} == {
        "generation_id": "gen_own",
        "endpoint": "embeddings",
        "http_status": 207,
        "status": "partial",
        "streamed": True,
        "attempts": 1,
        "duration_ms": 1500.2,
        "error": "upstream_cut",
        "key": "alice",
        "model": "acme/small",
        "provider": "acme",
        "region": "eu-west",
        "first_byte_ms": 120.5,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "cached_tokens": 10,
        "cost": 0.000012345,
        "energy_wh": 0.125,
        "carbon_g": 0.5,
        "zone": IMPACT.grid.zone,
        "eco": None,
        "wasted_wh": 2.5,
        "wasted_g": 3.5,
    }


def test_what_is_unknown_is_null_in_the_database(ready):
    """Not a number that is none: sums and other programs would take it for one."""
    put(ready, record(1, **RECORDS["refused"]), record(2))
    unknown = "count(prompt_tokens), count(cost_nano), count(latency_ms), count(key_id)"
    for table in ("requests", "records"):
        assert ready.query(
            f"SELECT {unknown}, sum(energy_wh), sum(water_ml), count(wasted_wh)"
            f" FROM {table} WHERE generation_id = 'gen_000001'"
        ) == [(0, 0, 0, 0, None, None, 0)]
    (total,) = sums(ready, (), 0, NOON * 2, "alice")
    assert total.energy_wh == IMPACT.energy_wh


def test_a_record_whose_shared_part_is_lost_is_read(ready):
    """By restoring half a backup, say: its own figures are there, the rest is unknown, not made up."""
    put(ready, record(1, **routed((CLEAN, "timeout", 1.0), (CHEAP, "ok", 0.2))))
    ready.execute("DELETE FROM alike")

    row = books.find(ready, "gen_000001", "alice")
    assert row is not None
    fields = record_fields(row)

    assert (fields["prompt_tokens"], fields["status"]) == (100, "ok")
    assert fields["eco"]["energy_wh"] == six(IMPACT.energy_wh)
    assert fields["provider"] is fields["resolved_model"] is fields["currency"] is None
    assert fields["routing_trace"] == {}
    assert sums(ready, ("model",), 0, NOON * 2)[0].of == (None,)


def test_what_is_alike_stands_once(ready):
    """However many records there are, and in whichever batch they came."""
    short = ShortRows()
    for batch in range(3):
        numbers = range(batch * 300, batch * 300 + 300)
        records = [
            record(n, impact=IMPACT, **routed((CLEAN, "ok", n / 1000))) for n in numbers
        ]
        put(ready, *records, short=short)

    assert ready.query("SELECT count(*) FROM alike") == [(1,)]
    rows = list(books.stream(ready, 0, NOON * 2))
    assert len(rows) == 900
    told = read_trace(orjson.loads(rows[850]["routing_trace"]))
    assert told["attempts"][0]["duration_ms"] == 850.0
    assert told["candidates"] == told_of(DECISION)["candidates"]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 16, 63, 64, 65, 300, 1024])
def test_all_are_put_in(ready, count):
    """Whatever their number; a second time changes nothing."""
    records = [record(number, impact=IMPACT) for number in range(count)]
    put(ready, *records)
    put(ready, *records)

    ids = [row["generation_id"] for row in books.stream(ready, 0, NOON * 2)]
    assert ids == [each.generation_id for each in records]


def test_sums_are_the_same(ready):
    """By everything that can be summed by."""
    mixed = [
        record(n, region=f"r{n % 2}", **routed((CLEAN, "ok", 1))) for n in range(9)
    ]
    by = ("day", "model", "key", "provider", "region")
    put(ready, *mixed)
    found = sums(ready, by, 0, NOON * 2)
    ready.execute("DELETE FROM requests")
    books.put(ready, [Rows().of(each) for each in mixed])

    assert found == sums(ready, by, 0, NOON * 2)
    assert [each.of[-1] for each in found] == ["r0", "r1"]


def test_a_batch_that_was_not_taken_is_forgotten(ready):
    """What it had in common is put in with the next one."""
    short = ShortRows()
    with pytest.raises(StoreRowError):
        put(ready, record(1, created_at=None), short=short)
    assert not list(books.stream(ready, 0, NOON * 2))

    put(ready, record(2), short=short)

    (row,) = books.stream(ready, 0, NOON * 2)
    assert row["resolved_model"] == "acme/small"


def prune(database, before):
    """Deletes as the ledger does."""
    books.prune(database, before)
    return books.prune_alike(database, before)


def test_what_nobody_refers_to_any_more_is_deleted(ready):
    """Not before: one may be referred to for an hour after it was made."""
    now = NOON
    short = ShortRows(lambda: now)
    put(ready, record(1, impact=IMPACT), short=short)
    now = NOON + FRESH_S - 1
    put(ready, record(2, impact=IMPACT, created_at=now), short=short)
    now = NOON + FRESH_S
    put(ready, record(3, impact=IMPACT, created_at=now), short=short)
    assert ready.query("SELECT count(*) FROM alike") == [(2,)]

    prune(ready, NOON + FRESH_S - 1)
    assert [row["provider"] for row in books.stream(ready, 0, NOON * 2)] == ["acme"] * 2
    assert ready.query("SELECT count(*) FROM alike") == [(2,)]

    prune(ready, NOON + FRESH_S * 2 + 1)
    assert ready.query("SELECT count(*) FROM alike") == [(1,)]
    prune(ready, NOON + FRESH_S * 4)
    assert ready.query("SELECT count(*) FROM alike") == [(0,)]


def test_a_clock_that_is_set_back_keeps_nothing_too_long():
    """What was remembered under the later time is made again."""
    now = NOON
    short = ShortRows(lambda: now)
    short.of([record(1, impact=IMPACT)])
    now = NOON - 10 * FRESH_S
    short.of([record(2, impact=IMPACT)])

    assert len(short.new) == 2


def test_little_is_remembered():
    """Decisions of a busy day do not fill the memory."""
    short = ShortRows()
    short.of([record(n, impact=IMPACT, error=f"e{n}") for n in range(MOST * 3)])

    assert len(short.new) == MOST * 3
    assert len(short._known) <= MOST


def test_no_value_is_none():
    """Python's driver for SQLite takes ten times as long for one."""
    ((row,), _) = ShortRows().of([record(1, **RECORDS["refused"])])

    assert None not in row
    assert math.isnan(row[SHORT.index("prompt_tokens")])


def test_the_columns_are_the_tables(ready):
    """All of `alike`; short rows and it together have all of `requests`."""
    there = _columns(ready, "alike")
    assert there == list(ALIKE)
    both = {*SHORT, *ALIKE} - {"id", "made_at", "alike", "decision"} | {"total_tokens"}
    assert both == set(_columns(ready, "records"))


def _columns(database, name):
    if database.dialect == "sqlite":
        return [row[1] for row in database.query(f"PRAGMA table_info({name})")]
    rows = database.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
        " ORDER BY ordinal_position",
        (name,),
    )
    return [each for (each,) in rows]


def test_what_an_earlier_version_wrote_is_read(database):
    """And what one writes that still runs while the others are replaced."""
    migrate(database, known()[:3])
    before = [Rows().of(record(n, **routed((CLEAN, "ok", 0.1)))) for n in range(3)]
    books.put(database, before[:2])
    migrate(database)
    put(database, record(3))
    books.put(database, before[2:])

    rows = list(books.stream(database, 0, NOON * 2))
    assert [row["generation_id"] for row in rows] == [f"gen_{n:06}" for n in range(4)]
    assert rows[:3] == [named(each) for each in before]
    assert books.spent(database, NOON)["alice"][0] == 4 * 12_345
    (all_of_them,) = sums(database, ("model",), 0, NOON * 2)
    assert all_of_them.requests == 4


def test_a_decision_is_not_held():
    """It refers to a whole pool, and its trace may have 30 kB; another one with its id is not taken for it."""
    short = ShortRows()
    for number in range(50):
        decision = decide(ask(max_carbon_g=1000.0 + number), KEY, POOL)
        gone = weakref.ref(decision)
        short.of(
            [
                record(
                    number, impact=IMPACT, **routed((CLEAN, "ok", 1), decision=decision)
                )
            ]
        )
        assert not decision.told
        del decision
        assert gone() is None
    assert len(short.new) == 50
