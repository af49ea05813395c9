"""A record becomes a row, wholly, and what a caller or an upstream made up cannot break it."""

import json
import sqlite3

import attrs
import orjson
import pytest

from lowproxy.core.eco import Reading
from lowproxy.core.routing import decide
from lowproxy.core.routing_trace import trace
from lowproxy.core.trace_kept import read_trace
from lowproxy.core.usage import Usage
from lowproxy.store.ledger_rows import COLUMNS, MOST_CHARS, Rows, named
from lowproxy.store.migrations import known
from tests.core.test_routing_trace import CLEAN, KEY, POOL, ask
from tests.store.records import USAGE, impact, record


def fields(made):
    """A record's row by name."""
    return named(Rows().of(made))


def test_the_columns_are_the_tables():
    """All of them, in the order of the migration that made it."""
    database = sqlite3.connect(":memory:")
    database.executescript(known()[0].sql)

    names = [row[1] for row in database.execute("PRAGMA table_info(requests)")]
    database.close()

    assert tuple(names) == COLUMNS


def test_a_row_has_what_the_record_has():
    """Every field of the contract, unknown ones as NULL."""
    row = fields(record())

    assert row["generation_id"] == "gen_000001"
    assert row["key_id"] == "alice"
    assert (row["requested_model"], row["resolved_model"]) == (
        "lowrouter/auto",
        "acme/small",
    )
    assert [row[f"{kind}_tokens"] for kind in ("prompt", "completion", "total")] == [
        100,
        20,
        120,
    ]
    assert (row["cached_tokens"], row["reasoning_tokens"]) == (10, 5)
    assert (row["cost_nano"], row["currency"]) == (12_345, "EUR")
    assert json.loads(row["attempts"]) == [["acme-paris/acme/small", "ok"]]
    assert row["streamed"] == 1


def test_the_estimate_has_bounds_and_provenance():
    """Enough to defend it, and to work it out again by another method."""
    row, made = fields(record()), impact()

    for name in ("energy_wh", "energy_wh_low", "energy_wh_high", "carbon_g"):
        assert row[name] == getattr(made, name)
    assert row["zone"] == "FR"
    assert row["grid_live"] == 0
    assert row["methodology_version"] == made.methodology_version
    eco = json.loads(row["eco"])
    assert eco["grid"]["intensity_g_per_kwh"] == pytest.approx(row["grid_g_per_kwh"])
    assert eco["method"] == "estimated"
    assert "demo" in eco["notes"]


def test_a_measured_figure_says_who_measured():
    """And no two readings are mixed up."""
    rows = Rows()
    for energy_wh in (1.0, 2.0):
        read = Reading("neuralwatt", energy_wh, "gpu")
        made = impact().but(method="measured", reading=read)
        eco = json.loads(named(rows.of(record(impact=made)))["eco"])
        assert eco["measured"]["energy_wh"] == energy_wh


def test_two_grid_readings_are_not_mixed_up():
    """What is kept between rows belongs to one reading."""
    rows = Rows()
    for grams in range(200):
        grid = attrs.evolve(
            impact().grid, grams_per_kwh=float(grams), source=f"{grams}"
        )
        row = named(rows.of(record(impact=impact().but(grid=grid))))
        assert json.loads(row["eco"])["grid"]["source"] == f"{grams}"


def test_what_is_unknown_is_null():
    """A request that was refused at the door."""
    row = fields(
        record(
            usage=None, impact=None, attempts=(), resolved_model=None, cost_nano=None
        )
    )

    for name in ("prompt_tokens", "energy_wh", "carbon_g", "eco", "attempts"):
        assert row[name] is None
    assert row["cost_nano"] is None
    assert row["routing_trace"] is None


def test_the_trace_is_worked_out_here():
    """By what the record carries: a request does not pay for it."""
    row = fields(record(trace=lambda: {"chosen": "acme"}))

    assert json.loads(row["routing_trace"]) == {"chosen": "acme"}


def test_requests_share_what_their_decision_says():
    """It is made into text once; the attempts are each one's own."""
    decision = decide(ask(), KEY, POOL)
    made = Rows()

    for took_s in (0.1, 0.2):
        told = trace(decision, [(CLEAN.id, "ok", took_s)], CLEAN.id)
        row = named(made.of(record(trace=lambda told=told: told)))
        assert read_trace(json.loads(row["routing_trace"])) == told
    assert len(made._decisions) == 1


def test_many_decisions_take_no_room_for_ever():
    """Those that are remembered are bounded, and never mistaken for each other."""
    made = Rows()

    for size in range(200):
        told = trace(decide(ask(max_carbon_g=1000.0 + size), KEY, POOL))
        told["ordered_by"] = size
        row = named(made.of(record(trace=lambda told=told: told)))
        assert json.loads(row["routing_trace"])["ordered_by"] == size
    assert len(made._decisions) <= Rows._MOST_DECISIONS


def test_a_callers_name_for_a_model_is_made_readable():
    """Control characters, and whatever is too long, are for no database."""
    row = fields(record(requested_model="a\0b\n" + "x" * 10_000))

    assert row["requested_model"].startswith("a?b?xx")
    assert len(row["requested_model"]) == MOST_CHARS


def test_counts_that_cannot_be_are_unknown():
    """An upstream may say anything."""
    row = fields(record(usage=Usage(10**30, 1)))

    assert row["prompt_tokens"] is None
    assert orjson.dumps(row)


def test_every_field_of_the_record_has_a_place():
    """A field that is added is not forgotten here."""
    elsewhere = {"usage", "impact", "wasted", "cost", "trace"}
    there = set(record()._fields)

    assert there - elsewhere <= set(COLUMNS)
    assert USAGE.total == 120
