"""What the calling key has used and what is left: `GET /credits` and `GET /key`, in OpenRouter's shapes.

Of a key with limits the count is told that its requests are judged by; of others what the books say.
"""

import asyncio
import datetime
import time
from typing import Any

import orjson

from lowproxy.core.access import ApiKey
from lowproxy.core.account import DAY_S, month_begin, month_end
from lowproxy.core.cost import NANO
from lowproxy.core.limits import Limits, Spending
from lowproxy.server import books
from lowproxy.server.admission import UG_PER_G
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.server.wire import Reply, Request, send
from lowproxy.store.connecting import open_migrated
from lowproxy.store.database import StoreError
from lowproxy.store.ledger_books import spent

# Each look opens a connection of its own: enough for people, not for a flood.
_LOOKS = asyncio.Semaphore(2)


async def get_credits(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """`GET /credits`: the budget and what of it is used; null where there is none, or nobody has counted."""
    key = _key(exchange)
    spending = await _spending(parts, key)
    limit, used, _ = _budget(key, spending)
    data = {
        "total_credits": _money(limit),
        "total_usage": _money(used),
        "currency": parts.config.billing.currency,
    }
    return _send(request, exchange, data)


async def get_key(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """`GET /key`: what the key may do, and what it has used."""
    key = _key(exchange)
    spending = await _spending(parts, key)
    return _send(request, exchange, _about(key, spending, parts))


def _about(key: ApiKey, spending: Spending | None, parts: Parts) -> dict[str, Any]:
    limits = key.limits or Limits()
    limit, used, reset = _budget(key, spending)
    per_minute = limits.requests_per_minute
    about: dict[str, Any] = {
        "label": key.name,
        "usage": _money(used),
        "usage_daily": _money(spending.day_nano) if spending else None,
        "usage_monthly": _money(spending.month_nano) if spending else None,
        "limit": _money(limit),
        "limit_remaining": _money(
            None if limit is None or used is None else max(0, limit - used)
        ),
        "limit_reset": reset,
        "is_free_tier": False,
        "rate_limit": {
            "requests": -1 if per_minute is None else per_minute,
            "interval": "1m",
        },
    }
    carbon = limits.daily_carbon_ug
    about["lowrouter"] = {
        "currency": parts.config.billing.currency,
        "models": list(key.models),
        "providers": list(key.providers),
        "region": key.region,
        "prefer_low_carbon": key.prefer_low_carbon,
        "expires_at": None if key.expires_at is None else _moment(key.expires_at),
        "requests_per_minute": per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "max_streams": limits.max_streams,
        "daily_limit": _money(limits.daily_nano),
        "monthly_limit": _money(limits.monthly_nano),
        "daily_carbon_g": None if carbon is None else carbon / UG_PER_G,
        "carbon_g_today": spending.day_carbon_ug / UG_PER_G if spending else None,
        "reserved": _money(spending.reserved_nano) if spending else None,
        "open_requests": spending.open if key.limits and spending else None,
    }
    return about


def _budget(
    key: ApiKey, spending: Spending | None
) -> tuple[int | None, int | None, str | None]:
    """The budget with the least left, what of it is spent, and when it resets.

    Without a budget: what was spent this month.
    """
    limits = key.limits or Limits()
    today = int(time.time() // DAY_S)
    day = spending.day_nano if spending else None
    month = spending.month_nano if spending else None
    daily, monthly = limits.daily_nano, limits.monthly_nano
    if daily is not None and (
        monthly is None or daily - (day or 0) < monthly - (month or 0)
    ):
        return daily, day, _moment((today + 1) * DAY_S)
    reset = None if monthly is None else _moment((month_end(today) + 1) * DAY_S)
    return monthly, month, reset


async def _spending(parts: Parts, key: ApiKey) -> Spending | None:
    now = time.time()
    if key.limits is not None:
        return await parts.limiter.spending(key, now)
    place = parts.config.places.store
    if place is None or parts.ledger is None:
        return None
    books.write_all(parts)
    url, timeout_s = place.reveal(), parts.config.store.timeout_s
    try:
        async with _LOOKS:
            return await asyncio.to_thread(_of_books, url, timeout_s, key.name, now)
    except StoreError:
        return None


def _of_books(url: str, timeout_s: float, name: str, now: float) -> Spending:
    """To the last flush: what waits to be written is not in it."""
    today = int(now // DAY_S)
    database = open_migrated(url, timeout_s)
    try:
        day = spent(database, float(today * DAY_S)).get(name, (0, 0))
        month = spent(database, float(month_begin(today) * DAY_S)).get(name, (0, 0))
    finally:
        database.close()
    return Spending(day[0], month[0], day[1], 0, 0, 0, 0)


def _key(exchange: Exchange) -> ApiKey:
    assert exchange.key is not None, "the door lets nobody in without a key"
    return exchange.key


def _money(nano: int | None) -> float | None:
    """Shortest of the floats that read as the amount: its decimals, exactly."""
    return None if nano is None else nano / NANO


def _moment(epoch_s: float) -> str:
    moment = datetime.datetime.fromtimestamp(epoch_s, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _send(request: Request, exchange: Exchange, data: dict[str, Any]) -> Reply:
    exchange.http_status = 200
    return send(request, 200, exchange.answer_fields(), orjson.dumps({"data": data}))
