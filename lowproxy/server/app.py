"""The composition root: configuration in, a running gateway out. The only place that knows every part."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from functools import partial

import attrs
import structlog
from aiohttp import web

from lowproxy.catalogue import Catalogue, build_pool
from lowproxy.config import Config, Listen, Timeouts
from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.eco_methods import DEFAULT, find_method
from lowproxy.core.health import Health
from lowproxy.core.routing import Memo
from lowproxy.demo import running_demo
from lowproxy.errors import ConfigError
from lowproxy.grid.annual import AnnualGrid
from lowproxy.grid.feed import running_feeds
from lowproxy.grid.model_table import load_models
from lowproxy.metrics import Metrics
from lowproxy.server import books
from lowproxy.server.admin import admin_app
from lowproxy.server.aftermath import Aftermath
from lowproxy.server.aiohttp_server import PublicServer
from lowproxy.server.carbon import carbon_budgets
from lowproxy.server.direct import DirectServer
from lowproxy.server.door import make_door
from lowproxy.server.keeping import running_ledger
from lowproxy.server.parser import WHY_NOT
from lowproxy.server.parts import Parts
from lowproxy.server.pulse import running_pulse
from lowproxy.server.scales import Scales
from lowproxy.server.wire import Handler, Server
from lowproxy.store.keys import KeyStore
from lowproxy.store.limiter import MemoryLimiter
from lowproxy.transport import fast, public
from lowproxy.transport.answer import Client
from lowproxy.transport.dispatch import Dispatch
from lowproxy.transport.watch import Watch

log = structlog.get_logger("lowproxy.app")

BACKLOG = 4096
# The ways up, by `relay.upstream_client`.
CLIENTS: dict[str, Callable[[Timeouts], AbstractAsyncContextManager[Client]]] = {
    "fast": fast.running_client,
    "public": public.running_client,
}
# The ways down, by `relay.caller_server`.
SERVERS: dict[str, Callable[[Handler], Server]] = {
    "direct": DirectServer,
    "public": PublicServer,
}
# How often a gateway that stops looks whether all have been answered.
DRAIN_POLL_S = 0.02
# aiohttp waits this long twice before it cancels a handler; what may finish has had `drain_s`.
CLOSE_S = 0.01


@attrs.frozen
class Gateway:
    """A gateway that is up: its parts, and where it really listens (port 0 resolved)."""

    parts: Parts
    catalogue: Catalogue
    listen: Listen
    admin_listen: Listen


@asynccontextmanager
async def running(config: Config, catalogue: Catalogue) -> AsyncIterator[Gateway]:
    """Starts every part in order, stops them in reverse.

    `config.keys` holds at least one key. Raises ConfigError where a port cannot be opened.
    """
    async with AsyncExitStack() as stack:
        if catalogue.demo:
            models = [model.id for model in catalogue.models]
            catalogue = catalogue.demo_rows(
                await stack.enter_async_context(running_demo(models))
            )
        metrics = Metrics()
        # Entered before what serves, so that it closes after the last record.
        ledger = await stack.enter_async_context(running_ledger(config, metrics))
        running_client = CLIENTS[config.relay.upstream_client]
        client = await stack.enter_async_context(running_client(config.timeouts))
        scales = make_scales(config)
        health = Health(config.health.limits)
        relaying = config.relay
        aftermath = Aftermath(relaying.on_disconnect, relaying.drain_limit_s)
        parts = Parts(
            config=config,
            keys=KeyStore(config.keys),
            pool=build_pool(catalogue, scales.typical, config.auto.models),
            memo=Memo(),
            health=health,
            dispatch=Dispatch.make(client, health, config, time.monotonic),
            scales=scales,
            metrics=metrics,
            pick=pick,
            aftermath=aftermath,
            ledger=ledger,
            body_watch=Watch(config.timeouts.body_s),
            carbon=carbon_budgets(config, metrics),
            limiter=MemoryLimiter(),
        )

        parts.metrics.hooks.before = partial(books.write_all, parts)
        stack.callback(books.write_all, parts)
        stack.push_async_callback(aftermath.close)
        stack.enter_context(running_pulse(parts))

        def use(live: Mapping[str, CarbonIntensity]) -> None:
            """Weighs, and ranks, by new live readings; requests under way notice nothing."""
            scales.use(live)
            parts.pool = build_pool(catalogue, scales.typical, config.auto.models)
            parts.memo = Memo()

        await stack.enter_async_context(running_feeds(config.feeds, use, parts.metrics))
        admin = await stack.enter_async_context(
            _admin(parts, config.server.admin_listen)
        )
        api = await stack.enter_async_context(_api(parts, config.server.listen))
        yield Gateway(parts, catalogue, api, admin)


def make_server(parts: Parts) -> Server:
    """The server for callers, by `relay.caller_server`; `public` where aiohttp is not as `direct` needs it."""
    wanted = parts.config.relay.caller_server
    if wanted == "direct" and WHY_NOT is not None:
        log.warning("server.public", reason=WHY_NOT)
        wanted = "public"
    return SERVERS[wanted](make_door(parts))


def make_scales(config: Config) -> Scales:
    """The scales for the configured methodology. Raises ConfigError where there is no such one."""
    try:
        method = (
            find_method(config.eco.methodology) if config.eco.methodology else DEFAULT
        )
    except KeyError as exc:
        raise ConfigError([f"eco.methodology: {exc.args[0]}"]) from None
    return Scales(method, load_models(), AnnualGrid.load())


def pick(user: str | None, n: int) -> int:
    """One of n equals: the same for the same user while the process runs, else any."""
    return hash(user) % n if user else random.randrange(n)


def not_ready(parts: Parts) -> str | None:
    """Why requests should go elsewhere, or None."""
    if parts.draining:
        return "draining"
    return None if parts.pool.by_model else "no model can be served"


@asynccontextmanager
async def _api(parts: Parts, listen: Listen) -> AsyncIterator[Listen]:
    server = make_server(parts)
    loop = asyncio.get_running_loop()
    try:
        listening = await loop.create_server(
            server, listen.host, listen.port, backlog=BACKLOG
        )
    except OSError as exc:
        raise ConfigError(
            [f"server.listen: {listen} cannot be opened: {exc.strerror}"]
        ) from None
    try:
        yield Listen(listen.host, listening.sockets[0].getsockname()[1])
    finally:
        await _drain(parts, server, listening)


async def _drain(parts: Parts, server: Server, listening: asyncio.Server) -> None:
    """No new connections; who is being answered may finish within `drain_s`, then all are closed."""
    parts.draining = True
    listening.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(parts.config.timeouts.drain_s or None):
            while _close_idle(parts, server):
                await asyncio.sleep(DRAIN_POLL_S)
    for task in list(parts.busy.values()):
        task.cancel()  # while the connection is open: a stream ends with an event that says why
    await asyncio.sleep(0)
    server.pre_shutdown()
    await server.shutdown(CLOSE_S)
    while parts.busy:  # cancelled by now: each still writes its line in the books
        await asyncio.sleep(DRAIN_POLL_S)


def _close_idle(parts: Parts, server: Server) -> bool:
    """Closes connections that nobody is waiting on; whether others are left.

    aiohttp's own shutdown stops reading at once, which a request whose body is on its way would not survive.
    """
    left = False
    for connection in server.connections:
        transport = connection.transport
        if connection in parts.busy or (
            transport is not None and transport.get_write_buffer_size()
        ):
            left = True
        else:
            connection.force_close()
    return left


@asynccontextmanager
async def _admin(parts: Parts, listen: Listen) -> AsyncIterator[Listen]:
    runner = web.AppRunner(admin_app(lambda: not_ready(parts), parts), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, listen.host, listen.port)
        try:
            await site.start()
        except OSError as exc:
            raise ConfigError(
                [f"server.admin_listen: {listen} cannot be opened: {exc.strerror}"]
            ) from None
        yield Listen(listen.host, runner.addresses[0][1])
    finally:
        await runner.cleanup()
