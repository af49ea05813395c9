"""Keeps the books while the gateway runs: the configuration's store, opened, watched, closed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from lowproxy.config import Config
from lowproxy.errors import ConfigError
from lowproxy.metrics import Metrics
from lowproxy.store.connecting import open_migrated
from lowproxy.store.database import StoreRefusedError
from lowproxy.store.ledger import Ledger, Terms
from lowproxy.store.ledger_spill import Spill

log = structlog.get_logger("lowproxy.keeping")

WATCH_S = 1.0


@asynccontextmanager
async def running_ledger(
    config: Config, metrics: Metrics
) -> AsyncIterator[Ledger | None]:
    """The books of this configuration; None where none are kept.

    Raises ConfigError where the store is not for this program. One that is away, or a directory that
    cannot be written, is one line in the log: the gateway runs without.
    """
    store, places = config.store, config.places
    if places.store is None:
        if store.enabled:
            log.warning("ledger.nowhere", reason="no state directory, no store.url")
        yield None
        return
    url = places.store.reveal()
    spill = Spill(places.spill_dir, store.spill_max_bytes) if places.spill_dir else None
    ledger = Ledger(
        Terms(
            partial(open_migrated, url, store.timeout_s),
            spill,
            store.flush_interval_s,
            store.timeout_s,
            store.retention_days,
        )
    )
    try:
        await asyncio.to_thread(ledger.start)
    except StoreRefusedError as exc:
        raise ConfigError([f"store: {exc}"]) from None
    metrics.hooks.books = lambda: ledger.counts
    metrics.hooks.queues["ledger"] = lambda: ledger.depth
    watching = asyncio.create_task(_watch(ledger), name="ledger-watch")
    try:
        yield ledger
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await asyncio.to_thread(ledger.close)


async def _watch(ledger: Ledger) -> None:
    while True:
        await asyncio.sleep(WATCH_S)
        ledger.watch(time.monotonic())
