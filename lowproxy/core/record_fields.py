"""A row of the books as people and programs read it: nested, with exact money and readable times."""

import datetime
from collections.abc import Mapping
from typing import Any

import orjson

from lowproxy.core.cost import money
from lowproxy.core.eco_block import six
from lowproxy.core.trace_kept import read_trace

_PLAIN = (
    "endpoint",
    "http_status",
    "status",
    "error",
    "key_id",
    "requested_model",
    "resolved_model",
    "provider",
    "region",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
)
_FIGURES = (
    "energy_wh",
    "energy_wh_low",
    "energy_wh_high",
    "carbon_g",
    "carbon_g_low",
    "carbon_g_high",
    "embodied_g",
    "water_ml",
)


def record_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's record, for JSON by orjson; what is unknown is null.

    `row` has the names of the table's columns. Times are ISO 8601, in UTC.
    """
    nano = row["cost_nano"]
    return {
        "generation_id": row["generation_id"],
        "created_at": iso(row["created_at"]),
        "completed_at": iso(row["completed_at"]),
        **{name: row[name] for name in _PLAIN},
        "tokens_counted": _flag(row["tokens_counted"]),
        "streamed": bool(row["streamed"]),
        "latency_ms": row["latency_ms"],
        "duration_ms": row["duration_ms"],
        # A number with all its digits: a float would not have them.
        "cost": None if nano is None else orjson.Fragment(money(nano)),
        "currency": row["currency"],
        "eco": None if row["energy_wh"] is None else _eco(row),
        "wasted_wh": row["wasted_wh"],
        "wasted_g": row["wasted_g"],
        "attempts": orjson.loads(row["attempts"] or "[]"),
        "routing_trace": _trace(row["routing_trace"]),
    }


def openrouter_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenRouter's page of a generation says, as far as it is known here."""
    nano = row["cost_nano"]
    cost = orjson.Fragment(money(nano)) if nano is not None else None
    return {
        "id": row["generation_id"],
        "created_at": iso(row["created_at"]),
        "model": row["resolved_model"],
        "provider_name": row["provider"],
        "streamed": bool(row["streamed"]),
        "cancelled": row["status"] in ("partial", "client_closed"),
        "latency": row["latency_ms"],
        "generation_time": row["duration_ms"],
        "tokens_prompt": row["prompt_tokens"],
        "tokens_completion": row["completion_tokens"],
        "native_tokens_prompt": row["prompt_tokens"],
        "native_tokens_completion": row["completion_tokens"],
        "native_tokens_cached": row["cached_tokens"],
        "native_tokens_reasoning": row["reasoning_tokens"],
        "total_cost": cost,
        "usage": cost,
    }


def iso(moment: float) -> str:
    """Seconds since the epoch as `2026-11-21T12:00:00.000Z`."""
    at = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _eco(row: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: six(row[name]) for name in _FIGURES if row[name] is not None}
    return {
        **figures,
        "accuracy": row["accuracy"],
        "methodology_version": row["methodology_version"],
        **orjson.loads(row["eco"] or "{}"),
    }


def _trace(text: str | None) -> dict[str, Any] | None:
    return None if text is None else read_trace(orjson.loads(text))


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)
