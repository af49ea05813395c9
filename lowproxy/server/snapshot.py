"""What the page of the admin port shows, as one JSON object: the state of now, and the last requests.

Made only while somebody looks. Names and numbers, never text of a request; a key appears by its name.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from lowproxy import __version__
from lowproxy.core.eco_block import six
from lowproxy.core.grid_reading import moment
from lowproxy.core.record import UsageRecord
from lowproxy.server.parts import Parts
from lowproxy.server.pulse import candidates, states
from lowproxy.tally import is_failure, token_time_ms

# How many of the last requests are listed one by one.
SHOWN = 25
# Of how many the saving is summed: each asks its decision, which is made from memory where it can be.
WEIGHED = 100
# Of a decision's candidates and rejections so many are told.
_LINES = 6


def snapshot(parts: Parts, reason: str | None, now: float) -> bytes:
    """JSON; `reason` is why the gateway cannot route, `now` is in seconds since the epoch."""
    metrics = parts.metrics
    metrics.hooks.before()
    recent = list(metrics.tally.recent)
    shown = recent[: -SHOWN - 1 : -1]
    return orjson.dumps(
        {
            "version": __version__,
            "now": now,
            "not_ready": reason,
            "open": [metrics.open_requests, metrics.open_streams],
            "lag_ms": round(metrics.loop_lag_s.last * 1000, 2),
            "history": list(metrics.tally.history),
            "totals": _totals(parts),
            "saved": saved(recent[-WEIGHED:]),
            "window": {"requests": len(recent), **_times(recent)},
            "providers": _providers(parts, recent),
            "upstreams": _upstreams(parts),
            "grid": _grid(parts, now),
            "requests": [_request(record) for record in shown],
        }
    )


def percentiles(values: Iterable[float | None]) -> list[float] | None:
    """The 50th, 90th and 99th (nearest rank) of those that are known; None where none is."""
    ranked = sorted(value for value in values if value is not None)
    if not ranked:
        return None
    last = len(ranked) - 1
    return [
        round(ranked[min(last, int(len(ranked) * share))], 3)
        for share in (0.5, 0.9, 0.99)
    ]


def _times(records: Sequence[UsageRecord]) -> dict[str, Any]:
    """Milliseconds to the first byte of what was answered, and between tokens of streams."""
    return {
        "first_ms": percentiles(r.latency_ms for r in records if r.provider),
        "gap_ms": percentiles(map(token_time_ms, records)),
    }


def _totals(parts: Parts) -> dict[str, Any]:
    """Since the start."""
    sums = {"requests": 0, "failed": 0, "prompt": 0, "completion": 0, "retries": 0}
    eco = {"wh": 0.0, "g": 0.0, "wasted_wh": 0.0, "wasted_g": 0.0}
    for kind, row in parts.metrics.tally.rows():
        sums["requests"] += row.requests
        sums["failed"] += row.requests if is_failure(kind.status) else 0
        sums["prompt"] += row.prompt
        sums["completion"] += row.completion
        sums["retries"] += row.retries
        eco["wh"] += row.energy_wh
        eco["g"] += row.carbon_g
        eco["wasted_wh"] += row.wasted_wh
        eco["wasted_g"] += row.wasted_g
    costs: dict[str, float] = {}
    for kind, row in parts.metrics.tally.rows():
        if kind.currency is not None and row.cost_nano:
            costs[kind.currency] = costs.get(kind.currency, 0.0) + row.cost_nano / 1e9
    return {**sums, "cost": costs, **{name: six(value) for name, value in eco.items()}}


def _providers(parts: Parts, recent: Sequence[UsageRecord]) -> list[dict[str, Any]]:
    """One row per provider that was asked, those with the most requests first."""
    rows: dict[str, dict[str, Any]] = {}
    for kind, row in parts.metrics.tally.rows():
        if kind.provider is None:
            continue
        blank = {"requests": 0, "failed": 0, "retries": 0, "tokens": 0}
        one = rows.setdefault(
            kind.provider, {"id": kind.provider, **blank, "wh": 0.0, "g": 0.0}
        )
        one["requests"] += row.requests
        one["failed"] += row.requests if is_failure(kind.status) else 0
        one["retries"] += row.retries
        one["tokens"] += row.prompt + row.completion
        one["wh"] += row.energy_wh
        one["g"] += row.carbon_g
    for name, one in rows.items():
        one.update(_times([r for r in recent if r.provider == name]))
        one["wh"], one["g"] = six(one["wh"]), six(one["g"])
    return sorted(rows.values(), key=lambda one: (-one["requests"], one["id"]))


def _upstreams(parts: Parts) -> list[dict[str, Any]]:
    """One row per endpoint: how many of its models are in use, and which are not."""
    found = states(parts)
    rows: dict[str, dict[str, Any]] = {}
    for candidate in candidates(parts):
        endpoint = candidate.endpoint
        row = rows.get(endpoint.id)
        if row is None:
            row = rows[endpoint.id] = {
                "id": endpoint.id,
                "provider": endpoint.provider.id,
                "region": endpoint.region,
                "provenance": endpoint.provenance,
                "zone": parts.scales.reading(endpoint).zone,
                "models": 0,
                "troubled": [],
            }
        row["models"] += 1
        if candidate.id in found:
            row["troubled"].append([candidate.model.id, found[candidate.id]])
    return sorted(rows.values(), key=lambda row: (-len(row["troubled"]), row["id"]))


def _grid(parts: Parts, now: float) -> list[dict[str, Any]]:
    """The reading in use per zone where an endpoint stands, the cleanest first."""
    rows: dict[str, dict[str, Any]] = {}
    for candidate in candidates(parts):
        reading = parts.scales.reading(candidate.endpoint)
        if reading.zone in rows:
            continue
        rows[reading.zone] = {
            "zone": reading.zone,
            "g_per_kwh": six(reading.grams_per_kwh),
            "source": reading.source,
            "live": reading.live,
            "at": reading.at,
            "age_s": round(now - moment(reading.at)) if reading.live else None,
        }
    return sorted(rows.values(), key=lambda row: float(row["g_per_kwh"]))


def _request(record: UsageRecord) -> dict[str, Any]:
    usage, impact, told = record.usage, record.impact, _told(record)
    return {
        "id": record.generation_id,
        "at": record.completed_at,
        "endpoint": record.endpoint,
        "key": record.key_id,
        "model": record.resolved_model,
        "provider": record.provider,
        "region": record.region,
        "status": record.status,
        "http": record.http_status,
        "code": record.error,
        "streamed": record.streamed,
        "first_ms": _ms(record.latency_ms),
        "took_ms": _ms(record.duration_ms),
        "tokens": [usage.prompt, usage.completion] if usage else None,
        "wh": six(impact.energy_wh) if impact else None,
        "g": six(impact.carbon_g) if impact else None,
        "zone": impact.grid.zone if impact else None,
        "accuracy": impact.accuracy if impact else None,
        "attempts": record.attempts,
        "saved_g": saved_by(record, told),
        "trace": trace_lines(told),
        "cost": None if record.cost_nano is None else record.cost_nano / 1e9,
        "currency": record.currency,
    }


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def saved(records: Sequence[UsageRecord]) -> dict[str, Any] | None:
    """Grams and Wh less than by the cheapest routes, of those requests where it is known; None where of none."""
    known = [
        (saved_g, record.impact.carbon_g, saved_wh_by(record, told) or 0.0)
        for record in records
        if record.impact
        and (saved_g := saved_by(record, told := _told(record))) is not None
    ]
    if not known:
        return None
    saved_g, took_g, saved_wh = (sum(each) for each in zip(*known, strict=True))
    return {
        "g": six(saved_g),
        "took_g": six(took_g),
        "wh": six(saved_wh),
        "requests": len(known),
    }


def saved_by(record: UsageRecord, told: Mapping[str, Any]) -> float | None:
    """Grams less than the same answer would have taken by the route of the least expected price.

    What it took, times the ratio of what the two were expected to take: a decision expects answers of a usual
    length, and the ratio holds for short ones too.
    """
    return _saved(record.impact.carbon_g if record.impact else None, "carbon_g", told)


def saved_wh_by(record: UsageRecord, told: Mapping[str, Any]) -> float | None:
    """Wh, likewise: another model or a better cooled place, where grams may come from the grid alone."""
    return _saved(record.impact.energy_wh if record.impact else None, "energy_wh", told)


def _saved(took: float | None, what: str, told: Mapping[str, Any]) -> float | None:
    expected = {row["candidate"]: row.get(what) for row in told.get("candidates", ())}
    used = expected.get(told.get("answered"))
    default = told["default"].get(what) if "default" in told else None
    if took is None or not used or default is None:
        return None
    return six(took * (default / used - 1))


def trace_lines(told: Mapping[str, Any]) -> list[str]:
    """A decision's trace in a few sentences: the choice, what it was chosen from, and who was not eligible."""
    lines = []
    if "choice" in told:
        choice, default = told["choice"], told["default"]
        lines.append(f"chosen: {choice['candidate']}, {choice['reason']}")
        if default["candidate"] != choice["candidate"]:
            lines.append(f"by the price alone it were {default['candidate']}")
    for row in told.get("candidates", ())[:_LINES]:
        terms = [
            f"{row[name]:.3g} {unit}"
            for name, unit in (
                ("carbon_g", "g"),
                ("latency_s", "s"),
                ("price", row["currency"]),
            )
            if row[name] is not None
        ]
        lines.append(f"{row['candidate']} ({row['zone']}): {', '.join(terms)}")
    rejected = told.get("rejected", ())
    lines += [
        f"not {row['candidate']}: {row['rule']}, {row['reason']}"
        for row in rejected[:_LINES]
    ]
    if len(rejected) > _LINES:
        lines.append(f"nor {len(rejected) - _LINES} others")
    return lines


def _told(record: UsageRecord) -> Mapping[str, Any]:
    return {} if record.trace is None else record.trace()
