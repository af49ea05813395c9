"""Keeps the keys of the store at hand while the gateway runs; nothing where there is no store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from lowproxy.config import Config
from lowproxy.core.access import ApiKey
from lowproxy.server.carbon import carbon_budgets
from lowproxy.server.parts import Live
from lowproxy.store.connecting import open_migrated
from lowproxy.store.keys_watch import KeysWatch


@asynccontextmanager
async def running_stored_keys(config: Config, live: Live) -> AsyncIterator[None]:
    """Reads them before anybody is let in, and again whenever they have changed."""
    place = config.places.store
    if place is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def use(version: int, stored: Sequence[ApiKey]) -> None:
        """From the watching thread: which keys hold is changed between two requests."""
        loop.call_soon_threadsafe(hold, live, version, stored)

    open_ = partial(open_migrated, place.reveal(), config.store.timeout_s)
    watch = KeysWatch(open_, use)
    await asyncio.to_thread(watch.start)
    await asyncio.sleep(0)  # what was read at the start is in use from here on
    try:
        yield
    finally:
        await asyncio.to_thread(watch.close)


def hold(live: Live, version: int, stored: Sequence[ApiKey]) -> None:
    """These are the store's keys from the next request on; the first with a carbon limit begins the steering."""
    parts = live.parts
    parts.keys.use(version, stored)
    if parts.carbon is None:
        held = parts.keys.stored
        parts.carbon = carbon_budgets(parts.config, parts.metrics, stored=held)
