"""Who counts what keys use: this process alone, or with others through the shared store."""

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from lowproxy.config import Config
from lowproxy.core.health import Health
from lowproxy.core.rotation import Credential
from lowproxy.core.upstreams import Candidate
from lowproxy.errors import ConfigError
from lowproxy.metrics import Metrics
from lowproxy.server.counting import make_limiter, resume, waits_for_books
from lowproxy.server.parts import Live
from lowproxy.store.limiter import Limiter, MemoryLimiter
from lowproxy.store.shared import running_shared
from lowproxy.store.shared_limiter import SharedLimiter
from lowproxy.store.shared_rests import SharedRests


@asynccontextmanager
async def running_limiter(config: Config, metrics: Metrics) -> AsyncIterator[Limiter]:
    """The count of this configuration. Raises ConfigError where an extra is missing."""
    place, options = config.places.shared, config.shared
    if place is None and not waits_for_books(config):
        async with _resuming(config) as counting:
            yield counting
        return
    local = await make_limiter(config)
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


@asynccontextmanager
async def _resuming(config: Config) -> AsyncIterator[MemoryLimiter]:
    """Counts at once, and adds the books in the background: nobody has a limit yet, a reload may bring one."""
    limiter = MemoryLimiter()
    task = asyncio.create_task(resume(limiter, config, time.time()))
    try:
        yield limiter
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def share_rests(limiter: Limiter, live: Live) -> None:
    """What an upstream asks one gateway to wait, all of them wait; nothing where none are shared."""
    if not isinstance(limiter, SharedLimiter):
        return
    health = live.parts.health

    def use(candidate_id: str, position: int, rest_s: float, reason: str) -> None:
        for candidates in live.parts.pool.by_model.values():
            for candidate in candidates:
                if candidate.id == candidate_id:
                    _rest(health, candidate, position, rest_s, reason, tell)
                    return

    rests = SharedRests(limiter.shared, use, time.time)

    def tell(
        candidate: Candidate, credential: Credential, rest_s: float, reason: str
    ) -> None:
        held = candidate.endpoint.provider.credentials or (None,)
        if credential in held:
            rests.tell(candidate.id, held.index(credential), rest_s, reason)

    health.tell = tell


def _rest(
    health: Health,
    candidate: Candidate,
    position: int,
    rest_s: float,
    reason: str,
    tell: Callable[[Candidate, Credential, float, str], None],
) -> None:
    """As if the upstream had said it here; the others know already."""
    held: tuple[Credential, ...] = candidate.endpoint.provider.credentials or (None,)
    if position >= len(held):
        return  # of another configuration
    now = time.monotonic()
    health.tell = None
    try:
        health.rest(candidate, held[position], now, now, reason, rest_s)
    finally:
        health.tell = tell
