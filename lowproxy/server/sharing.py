"""Who counts what keys use: this process alone, or with others through the shared store."""

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lowproxy.config import Config
from lowproxy.errors import ConfigError
from lowproxy.metrics import Metrics
from lowproxy.server.counting import make_limiter
from lowproxy.store.limiter import Limiter
from lowproxy.store.shared import running_shared
from lowproxy.store.shared_limiter import SharedLimiter


@asynccontextmanager
async def running_limiter(config: Config, metrics: Metrics) -> AsyncIterator[Limiter]:
    """The count of this configuration. Raises ConfigError where an extra is missing."""
    local = await make_limiter(config)
    place, options = config.places.shared, config.shared
    if place is None:
        yield local
        return
    if importlib.util.find_spec("redis") is None:
        raise ConfigError(["shared.url: needs an extra: pip install 'lowproxy[redis]'"])
    async with running_shared(
        place.reveal(), options.prefix, options.timeout_s, options.rest_s
    ) as shared:
        metrics.hooks.shared = lambda: shared.counts
        limiter = SharedLimiter(
            shared, fails_open=options.on_failure == "open", local=local
        )

        async def begin() -> None:
            """A server that has lost its data goes on from what the books say."""
            limiter.begin(await make_limiter(config), time.time())

        shared.on_up = begin
        await begin()
        await asyncio.sleep(0)
        yield limiter
