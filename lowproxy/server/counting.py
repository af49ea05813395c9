"""Who counts what keys use: in this process's memory, beginning with what the books say was spent."""

import asyncio
import time

import structlog

from lowproxy.config import Config
from lowproxy.core.account import DAY_S, month_begin
from lowproxy.core.limits import Actual
from lowproxy.store.connecting import open_migrated
from lowproxy.store.database import StoreError
from lowproxy.store.ledger_books import carbon_g, spent
from lowproxy.store.limiter import MemoryLimiter

log = structlog.get_logger("lowproxy.counting")

HOUR_S = 3600.0
Spent = dict[str, tuple[int, int]]  # by key: nano-units, micrograms


async def make_limiter(config: Config) -> MemoryLimiter:
    """A count that a restart does not set back, where there are books; else it begins at zero."""
    limiter = MemoryLimiter()
    await resume(limiter, config, time.time())
    return limiter


async def resume(limiter: MemoryLimiter, config: Config, now: float) -> None:
    """Adds what the books say was spent by requests that began before `now`."""
    place = config.places.store
    if place is None:
        return
    url, timeout_s = place.reveal(), config.store.timeout_s
    try:
        day, month = await asyncio.to_thread(_spent, url, timeout_s, now)
    except StoreError as exc:
        log.warning("counting.anew", reason=str(exc))
        return
    for name, (nano, carbon_ug) in month.items():
        today = Actual(0, *day.get(name, (0, 0)))
        limiter.account(name).charge(now, today, Actual(0, nano, carbon_ug))


def waits_for_books(config: Config) -> bool:
    """Whether a request may come that needs to know what was spent: else the start need not wait for it."""
    return config.store.named or any(key.limits is not None for key in config.keys)


async def hourly_carbon_g(config: Config) -> list[float]:
    """Grams of the last 24 hours, the oldest first; nothing where no budget needs them or nobody knows."""
    place, now = config.places.store, time.time()
    if place is None or config.carbon_budget.g_per_day is None:
        return []
    url, timeout_s = place.reveal(), config.store.timeout_s
    try:
        return await asyncio.to_thread(_hourly, url, timeout_s, now)
    except StoreError as exc:
        log.warning("counting.anew", reason=str(exc))
        return []


def _hourly(url: str, timeout_s: float, now: float) -> list[float]:
    database = open_migrated(url, timeout_s)
    try:
        begins = [now - hours * HOUR_S for hours in range(24, 0, -1)]
        return [carbon_g(database, begin, begin + HOUR_S) for begin in begins]
    finally:
        database.close()


def _spent(url: str, timeout_s: float, now: float) -> tuple[Spent, Spent]:
    today = int(now // DAY_S)
    database = open_migrated(url, timeout_s)
    try:
        since = [float(day * DAY_S) for day in (today, month_begin(today))]
        return spent(database, since[0], now), spent(database, since[1], now)
    finally:
        database.close()
