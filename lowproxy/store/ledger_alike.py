"""Records as short rows: what those that went alike have in common is put down once, in the table `alike`.

A row of its own is then 28 numbers and short texts, which is half the work for us and for the database, and a
quarter of the room. Who reads asks the view `records`, which puts both together.

A value that is unknown is NaN here: SQLite and JSON both make NULL of it, and Python's driver for SQLite takes
ten times as long to be given a None.
"""

import math
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from lowproxy.core.eco import Basis
from lowproxy.core.record import UsageRecord
from lowproxy.core.routing_trace import Routed, told_of
from lowproxy.core.trace_kept import Places, kept_attempts, kept_decision, places_of
from lowproxy.store.ledger_rows import MOST_TOKENS, Rows, Values, based, readable

# The columns of `requests` that a short row fills.
SHORT = (
    "generation_id",
    "created_at",
    "completed_at",
    "endpoint",
    "http_status",
    "status",
    "key_id",
    "streamed",
    "latency_ms",
    "duration_ms",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_nano",
    "energy_wh",
    "energy_wh_low",
    "energy_wh_high",
    "carbon_g",
    "carbon_g_low",
    "carbon_g_high",
    "embodied_g",
    "water_ml",
    "wasted_wh",
    "wasted_g",
    "unreadable_events",
    "routing_trace",
    "alike",
)
ALIKE = (
    "id",
    "made_at",
    "error",
    "requested_model",
    "resolved_model",
    "provider",
    "region",
    "tokens_counted",
    "currency",
    "accuracy",
    "methodology_version",
    "zone",
    "grid_g_per_kwh",
    "grid_live",
    "eco",
    "attempts",
    "decision",
)
# How long one of `alike` is referred to after it was made.
FRESH_S = 3600.0
# Of those that are remembered; a large decision that is held has some 30 kB.
MOST = 256

_NULL = math.nan
_NO_TOKENS: Values = (_NULL,) * 4
_NO_FIGURES: Values = (_NULL,) * 8
_NOTHING: Values = (_NULL,) * 2
_NO_BASIS: Values = (None,) * 6
# Its id; what stands before and behind the milliseconds of a single attempt; where candidates stand in the
# decision; and what must not be freed while its id is in the key.
_Known = tuple[int, tuple[str, str] | None, Places | None, Basis | None]


class ShortRows:
    """Makes short rows; remembers what has been put down for others to refer to."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.new: list[Values] = []  # rows of `alike` that the database has not yet
        self._clock = clock
        self._known: dict[tuple[object, ...], _Known] = {}
        self._forget_at = 0.0
        # Two processes that write to one database do not meet: 2^62 is a large place.
        self._last = secrets.randbits(62)
        self._rows = Rows()

    def forget(self) -> None:
        """The database may not have what was made for it."""
        self.new.clear()
        self._known.clear()

    def of(
        self, records: Iterable[UsageRecord]
    ) -> tuple[list[Values], list[UsageRecord]]:
        """The rows of records, in the order of SHORT; and the records that need rows of full length."""
        now = self._clock()
        if not 0 < self._forget_at - now <= FRESH_S:
            self._known.clear()
            self._forget_at = now + FRESH_S
        rows, others = [], []
        for record in records:
            row = self._row(record)
            if row is None:
                others.append(record)
            else:
                rows.append(row)
        return rows, others

    def _row(self, record: UsageRecord) -> Values | None:
        """Nothing is called here that need not be: this is what every record pays."""
        (
            generation_id,
            created_at,
            completed_at,
            requested_model,
            key_id,
            http_status,
            endpoint,
            provider,
            model,
            region,
            streamed,
            status,
            error,
            currency,
            latency_ms,
            duration_ms,
            usage,
            impact,
            attempts,
            unreadable_events,
            wasted,
            cost_nano,
            _,
            routed,
        ) = record
        tokens, figures, counted, basis, mark = _NO_TOKENS, _NO_FIGURES, None, 0, None
        if usage is not None:
            prompt, completion, cached, reasoning, counted = usage
            if prompt + completion > MOST_TOKENS:
                return None
            tokens = (prompt, completion, cached, reasoning)
        if impact is not None:
            if impact.basis.reading is not None:
                return None  # a figure of its own, with its text
            basis = id(impact.basis)
            embodied_g, water_ml = impact.embodied_g, impact.water_ml
            figures = (
                impact.energy_wh,
                impact.energy_wh_low,
                impact.energy_wh_high,
                impact.carbon_g,
                impact.carbon_g_low,
                impact.carbon_g_high,
                _NULL if embodied_g is None else embodied_g,
                _NULL if water_ml is None else water_ml,
            )
        if routed is not None:
            if type(routed) is not Routed:
                return None
            mark = routed[0].mark
        key = (
            endpoint,
            provider,
            model,
            region,
            streamed,
            status,
            error,
            currency,
            requested_model,
            attempts,
            counted,
            basis,
            mark,
        )
        known = self._known.get(key)
        if known is None:
            known = self._made(key, record)
        number, around, places, _ = known
        told: str | float = _NULL
        if around is not None:
            assert routed is not None, "it is part of the key"
            told = f"{around[0]}{routed[1][0].duration_s * 1000:.1f}{around[1]}"
        elif routed is not None:
            told = _own(routed, places)
        return (
            generation_id,
            created_at,
            completed_at,
            endpoint,
            http_status,
            status,
            _NULL if key_id is None else key_id,
            1 if streamed else 0,
            _NULL if latency_ms is None else latency_ms,
            duration_ms,
            *tokens,
            _NULL if cost_nano is None else cost_nano,
            *figures,
            *(_NOTHING if wasted is None else wasted),
            unreadable_events,
            told,
            number,
        )

    def _made(self, key: tuple[object, ...], record: UsageRecord) -> _Known:
        if len(self._known) >= MOST:
            self._known.clear()
        self._last += 1
        usage, impact, routed = record.usage, record.impact, record.trace
        told = told_of(routed.decision) if isinstance(routed, Routed) else {}
        places = places_of(told) if told else None
        self.new.append(
            (
                self._last,
                self._clock(),
                record.error,
                readable(record.requested_model),
                record.resolved_model,
                record.provider,
                record.region,
                None if usage is None else int(usage.counted),
                record.currency,
                *(_NO_BASIS if impact is None else based(impact)),
                self._rows.tried(record.attempts),
                None if places is None else _text(kept_decision(told, places)),
            )
        )
        around = None
        if isinstance(routed, Routed) and places is not None:
            around = _around(kept_attempts(routed.own(), places))
        basis = None if impact is None else impact.basis
        known = self._known[key] = (self._last, around, places, basis)
        return known


def _own(routed: Routed, places: Places | None) -> str:
    """What became of one request, as JSON."""
    return "{}" if places is None else _text(kept_attempts(routed.own(), places))


def _around(kept: dict[str, Any]) -> tuple[str, str] | None:
    """What stands before and behind the milliseconds of a single attempt: the same for many requests."""
    if len(kept["attempts"]) != 1:
        return None
    ((place, outcome, _),) = kept.pop("attempts")
    comma = "," if kept else ""
    return (
        f'{{"attempts":[[{_text(place)},{_text(outcome)},',
        f"]]{comma}{_text(kept)[1:]}",
    )


def _text(value: object) -> str:
    return orjson.dumps(value).decode()
