"""A record as a row of the table `requests`: values that every database takes, in the order of COLUMNS."""

from collections.abc import Mapping
from typing import Any

import orjson

from lowproxy.core.eco import EcoImpact
from lowproxy.core.eco_block import eco_fields
from lowproxy.core.record import UsageRecord
from lowproxy.core.trace_kept import Places, kept_attempts, kept_decision, places_of
from lowproxy.core.usage import Usage

COLUMNS = (
    "generation_id",
    "created_at",
    "completed_at",
    "endpoint",
    "http_status",
    "status",
    "error",
    "key_id",
    "requested_model",
    "resolved_model",
    "provider",
    "region",
    "streamed",
    "latency_ms",
    "duration_ms",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "tokens_counted",
    "cost_nano",
    "currency",
    "energy_wh",
    "energy_wh_low",
    "energy_wh_high",
    "carbon_g",
    "carbon_g_low",
    "carbon_g_high",
    "embodied_g",
    "water_ml",
    "accuracy",
    "methodology_version",
    "zone",
    "grid_g_per_kwh",
    "grid_live",
    "eco",
    "wasted_wh",
    "wasted_g",
    "unreadable_events",
    "attempts",
    "routing_trace",
)
# The name of a model is the caller's to choose: what is longer is cut.
MOST_CHARS = 200
# No upstream's count is larger that is one; databases end at 64 bits, JSON at 53.
MOST_TOKENS = 2**53

Values = tuple[Any, ...]
_NO_USAGE: Values = (None,) * 6
_NO_ECO: Values = (None,) * 14
# What has a column of its own, and what changes with every request.
_ELSEWHERE = frozenset(
    {
        "energy_wh",
        "energy_wh_low",
        "energy_wh_high",
        "carbon_g",
        "carbon_g_low",
        "carbon_g_high",
        "carbon_per_1k_tokens_g",
        "embodied_g",
        "water_ml",
        "accuracy",
        "methodology_version",
        "tokens",
    }
)


class Rows:
    """Makes rows; what many requests have in common is worked out once."""

    _MOST = 256
    _MOST_DECISIONS = 64  # a large one has some 30 kB

    def __init__(self) -> None:
        self._attempts: dict[tuple[tuple[str, str], ...], str] = {}
        self._decisions: dict[int, tuple[object, bytes, Places]] = {}

    def of(self, record: UsageRecord) -> Values:
        """The row of a record."""
        usage, wasted = record.usage, record.wasted
        return (
            record.generation_id,
            record.created_at,
            record.completed_at,
            record.endpoint,
            record.http_status,
            record.status,
            record.error,
            record.key_id,
            readable(record.requested_model),
            record.resolved_model,
            record.provider,
            record.region,
            int(record.streamed),
            record.latency_ms,
            record.duration_ms,
            *(_NO_USAGE if usage is None else _tokens(usage)),
            record.cost_nano,
            record.currency,
            *(_NO_ECO if record.impact is None else self._impact(record.impact)),
            None if wasted is None else wasted[0],
            None if wasted is None else wasted[1],
            record.unreadable_events,
            self.tried(record.attempts),
            None if record.trace is None else self._trace(record.trace()),
        )

    def _trace(self, told: Mapping[str, Any]) -> str:
        """Short, see `core.trace_kept`. Requests that share a decision share its list of candidates."""
        shared = told.get("candidates")
        if shared is None:
            return orjson.dumps(told).decode()
        known = self._decisions.get(id(shared))
        if known is None:
            if len(self._decisions) >= self._MOST_DECISIONS:
                self._decisions.clear()
            places = places_of(told)
            text = orjson.dumps(kept_decision(told, places))[:-1]
            # With the list itself: while it is held, no other one has its id.
            known = self._decisions[id(shared)] = (shared, text, places)
        _, text, places = known
        own = orjson.dumps(kept_attempts(told, places))
        return (text + b"," + own[1:]).decode()

    def tried(self, attempts: tuple[tuple[str, str], ...]) -> str | None:
        """Attempts as JSON."""
        if not attempts:
            return None
        text = self._attempts.get(attempts)
        if text is None:
            if len(self._attempts) >= self._MOST:
                self._attempts.clear()
            text = self._attempts[attempts] = orjson.dumps(attempts).decode()
        return text

    def _impact(self, impact: EcoImpact) -> Values:
        return (
            impact.energy_wh,
            impact.energy_wh_low,
            impact.energy_wh_high,
            impact.carbon_g,
            impact.carbon_g_low,
            impact.carbon_g_high,
            impact.embodied_g,
            impact.water_ml,
            *based(impact),
        )


def based(impact: EcoImpact) -> Values:
    """The columns that requests with the same basis have in common, from `accuracy` to `eco`; kept with it."""
    basis, grid = impact.basis, impact.grid
    columns: Values | None = basis.columns
    if columns is not None:
        return columns
    columns = basis.columns = (
        basis.accuracy,
        basis.methodology_version,
        grid.zone,
        grid.grams_per_kwh,
        int(grid.live),
        # The rest of the full `eco` object: method, boundary, grid source, notes.
        _rest(impact),
    )
    return columns


def readable(name: str | None) -> str | None:
    """A name that a caller sent, as it is put down: no control characters, not too long."""
    if name is None or (len(name) <= MOST_CHARS and name.isprintable()):
        return name
    return "".join([each if each.isprintable() else "?" for each in name[:MOST_CHARS]])


def _tokens(usage: Usage) -> Values:
    prompt, completion = usage.prompt, usage.completion
    if prompt + completion > MOST_TOKENS:
        return _NO_USAGE
    counts = (prompt, completion, prompt + completion, usage.cached, usage.reasoning)
    return (*counts, int(usage.counted))


def _rest(impact: EcoImpact) -> str:
    """What an estimate says without columns of its own, as JSON."""
    fields = eco_fields(impact, full=True)
    return orjson.dumps(
        {name: value for name, value in fields.items() if name not in _ELSEWHERE}
    ).decode()


def named(values: Values) -> dict[str, Any]:
    """A row with the names of its columns."""
    return dict(zip(COLUMNS, values, strict=True))
