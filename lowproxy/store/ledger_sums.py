"""Requests summed up: by day, model, key, provider and region, in tokens, money and grams."""

from collections.abc import Sequence

import attrs

from lowproxy.store.database import Database

# What can be summed by, and the column; a day is UTC's.
BY = {
    "day": None,
    "model": "resolved_model",
    "key": "key_id",
    "provider": "provider",
    "region": "region",
}
_DAY = {
    "sqlite": "date(created_at, 'unixepoch')",
    "postgresql": "to_char(to_timestamp(created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}
_SUMS = """
count(*),
sum(CASE WHEN status = 'ok' THEN 0 ELSE 1 END),
sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(reasoning_tokens),
sum(cost_nano),
sum(energy_wh), sum(energy_wh_low), sum(energy_wh_high),
sum(carbon_g), sum(carbon_g_low), sum(carbon_g_high),
sum(CASE WHEN prompt_tokens IS NOT NULL AND energy_wh IS NULL THEN 1 ELSE 0 END)
"""


@attrs.frozen
class Sum:
    """One line: what it is of, and the sums. None: no request of it has such a figure.

    Bounds are added up as if all estimates erred alike. `unweighed` requests have tokens and no
    estimate: they are missing in energy and carbon.
    """

    of: tuple[str | None, ...]
    currency: str | None
    requests: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_nano: int | None
    energy_wh: float | None
    energy_wh_low: float | None
    energy_wh_high: float | None
    carbon_g: float | None
    carbon_g_low: float | None
    carbon_g_high: float | None
    unweighed: int


def sums(
    database: Database,
    by: Sequence[str],
    since: float,
    until: float,
    key: str | None = None,
) -> list[Sum]:
    """What began in [since, until), by the names of BY; moneys of two currencies are two lines."""
    names = [BY[each] or _DAY[database.dialect] for each in by]
    grouped = ", ".join([*names, "currency"])
    where = "created_at >= ? AND created_at < ?" + (" AND key_id = ?" if key else "")
    rows = database.query(
        f"SELECT {grouped}, {_SUMS} FROM records WHERE {where}"
        f" GROUP BY {grouped} ORDER BY {grouped}",
        (since, until, *([key] if key else [])),
    )
    return [_sum(row[: len(by)], row[len(by) :]) for row in rows]


def _sum(of: tuple[str | None, ...], row: tuple[object, ...]) -> Sum:
    currency, requests, failed, *rest = row
    # PostgreSQL sums whole numbers as decimals.
    whole = [None if each is None else int(str(each)) for each in rest[:5]]
    prompt, cached, completion, reasoning, cost_nano = whole
    wh, wh_low, wh_high, grams, grams_low, grams_high = (
        None if each is None else float(str(each)) for each in rest[5:11]
    )
    return Sum(
        of,
        None if currency is None else str(currency),
        int(str(requests)),
        int(str(failed)),
        prompt or 0,
        cached or 0,
        completion or 0,
        reasoning or 0,
        cost_nano,
        wh,
        wh_low,
        wh_high,
        grams,
        grams_low,
        grams_high,
        int(str(rest[11])),
    )
