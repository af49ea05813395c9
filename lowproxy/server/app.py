"""The composition root: configuration in, a running gateway out. The only place that knows every part."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import attrs
import structlog
from aiohttp import web

from lowproxy.catalogue import Catalogue
from lowproxy.config import Config, Listen
from lowproxy.config.tls import server_context
from lowproxy.core.health import Health
from lowproxy.errors import ConfigError
from lowproxy.metrics import Metrics
from lowproxy.server import books
from lowproxy.server.admin import admin_app
from lowproxy.server.aftermath import Aftermath
from lowproxy.server.aiohttp_server import PublicServer
from lowproxy.server.carbon import carbon_budgets
from lowproxy.server.counting import hourly_carbon_g
from lowproxy.server.direct import DirectServer
from lowproxy.server.door import make_door
from lowproxy.server.keeping import running_ledger
from lowproxy.server.lifecycle import not_ready, stop
from lowproxy.server.listeners import Passed, listening
from lowproxy.server.making import Sources, made_from, make_scales, pick
from lowproxy.server.parser import WHY_NOT
from lowproxy.server.parts import Life, Live, Parts
from lowproxy.server.pulse import running_pulse
from lowproxy.server.reload import Reloader
from lowproxy.server.sharing import running_limiter, share_rests
from lowproxy.server.stored_keys import running_stored_keys
from lowproxy.server.wire import Handler, Server
from lowproxy.telemetry import running_telemetry

log = structlog.get_logger("lowproxy.app")

# The ways down, by `relay.caller_server`.
SERVERS: dict[str, Callable[[Handler], Server]] = {
    "direct": DirectServer,
    "public": PublicServer,
}


@attrs.frozen
class Gateway:
    """A gateway that is up: its parts, and where it really listens (port 0 resolved)."""

    live: Live
    reloader: Reloader
    listen: Listen
    admin_listen: Listen

    @property
    def parts(self) -> Parts:
        """Those in force now."""
        return self.live.parts

    @property
    def catalogue(self) -> Catalogue:
        """The one in force now, with a demo's endpoints."""
        return self.live.catalogue


@asynccontextmanager
async def running(
    config: Config,
    catalogue: Catalogue,
    passed: Passed = Passed(),  # noqa: B008 - it is frozen
) -> AsyncIterator[Gateway]:
    """Starts every part in order, stops them in reverse.

    `config.keys` holds at least one key. Raises ConfigError where a port cannot be opened.
    """
    async with AsyncExitStack() as stack:
        try:
            tls = server_context(config.server)
        except ValueError as exc:
            raise ConfigError([f"server.{exc}"]) from None
        sources = Sources(stack, Metrics())
        scales = make_scales(config)
        client = await sources.client(config)
        catalogue = await sources.placed(catalogue)
        health = Health(config.health.limits)
        # Entered before what serves, so that it closes after the last record.
        ledger = await stack.enter_async_context(
            running_ledger(config, sources.metrics)
        )
        limiter = await stack.enter_async_context(
            running_limiter(config, sources.metrics)
        )
        metrics = sources.metrics
        gauges = {
            "open_requests": lambda: metrics.open_requests,
            "open_streams": lambda: metrics.open_streams,
        }
        telemetry = await stack.enter_async_context(
            running_telemetry(os.environ, gauges)
        )
        relaying = config.relay
        aftermath = Aftermath(relaying.on_disconnect, relaying.drain_limit_s)
        # What a reload leaves as it is stands here, the rest in `made_from`.
        parts = Parts(
            **made_from(config, catalogue, client, scales, health),
            health=health,
            metrics=sources.metrics,
            pick=pick,
            aftermath=aftermath,
            life=Life(),
            ledger=ledger,
            limiter=limiter,
            telemetry=telemetry,
            carbon=carbon_budgets(
                config, sources.metrics, await hourly_carbon_g(config)
            ),
        )
        live = Live(parts, catalogue)
        share_rests(limiter, live)
        sources.metrics.hooks.before = partial(_write_all, live)
        stack.callback(_write_all, live)
        stack.push_async_callback(aftermath.close)
        stack.enter_context(running_pulse(live))
        await stack.enter_async_context(running_stored_keys(config, live))
        await sources.feed(config.feeds, live)
        admin = await stack.enter_async_context(_admin(live, passed))
        server = make_server(live)
        option = "server.listen"
        api = await stack.enter_async_context(
            listening(
                server,
                option,
                config.server.listen,
                passed.api,
                server=config.server,
                tls=tls,
            )
        )
        stack.push_async_callback(stop, live, server, api)
        reloader = Reloader(live, sources, tls)
        live.parts.life.starting = False
        yield Gateway(live, reloader, api.listen, admin)


def _write_all(live: Live) -> None:
    books.write_all(live.parts)


def make_server(live: Live) -> Server:
    """The server for callers, by `relay.caller_server`; `public` where aiohttp is not as `direct` needs it."""
    wanted = live.parts.config.relay.caller_server
    if wanted == "direct" and WHY_NOT is not None:
        log.warning("server.public", reason=WHY_NOT)
        wanted = "public"
    return SERVERS[wanted](make_door(live))


@asynccontextmanager
async def _admin(live: Live, passed: Passed) -> AsyncIterator[Listen]:
    runner = web.AppRunner(
        admin_app(lambda: not_ready(live.parts), live), access_log=None
    )
    await runner.setup()
    try:
        assert runner.server is not None, "it has been set up"
        listen = live.parts.config.server.admin_listen
        async with listening(
            runner.server, "server.admin_listen", listen, passed.admin
        ) as opened:
            yield opened.listen
    finally:
        await runner.cleanup()
