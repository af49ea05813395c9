"""A row is read as the contract names it, money to the last digit."""

import orjson

from lowproxy.core.record_fields import iso, openrouter_fields, record_fields
from lowproxy.store.ledger_rows import Rows, named
from tests.store.records import NOON, record


def test_money_keeps_its_digits():
    """As a number of JSON, in units of its currency."""
    row = named(Rows().of(record(cost_nano=12_345_678_901_234_567)))

    text = orjson.dumps(record_fields(row)).decode()

    assert '"cost":12345678.901234567,"currency":"EUR"' in text
    assert '"usage":12345678.901234567' in orjson.dumps(openrouter_fields(row)).decode()


def test_the_contracts_fields_are_there():
    """By their names."""
    names = (
        "generation_id created_at completed_at key_id requested_model resolved_model provider region"
        " prompt_tokens completion_tokens total_tokens cached_tokens reasoning_tokens latency_ms"
        " duration_ms cost eco status routing_trace"
    )

    assert set(names.split()) <= set(record_fields(named(Rows().of(record()))))


def test_what_is_unknown_is_null():
    """Never zero."""
    row = named(Rows().of(record(usage=None, impact=None, cost_nano=None)))
    fields = record_fields(row)

    assert fields["eco"] is fields["cost"] is fields["prompt_tokens"] is None
    assert openrouter_fields(row)["total_cost"] is None


def test_a_moment_is_utc():
    """To the millisecond."""
    assert iso(NOON + 0.25) == "2026-11-21T12:00:00.250Z"
