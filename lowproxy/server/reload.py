"""Another configuration for a running gateway: made whole first, then put in force in one step.

Requests that have begun keep what they began with. A configuration with a mistake changes nothing.
"""

import asyncio
import ssl
import time
from collections.abc import Callable

import attrs
import structlog

from lowproxy.catalogue import Catalogue
from lowproxy.config import Config
from lowproxy.config.tls import server_files
from lowproxy.errors import ConfigError
from lowproxy.server.carbon import carbon_budgets
from lowproxy.server.making import Sources, made_from, make_scales
from lowproxy.server.parts import Live
from lowproxy.server.scales import Scales

log = structlog.get_logger("lowproxy.reload")

# Reads the configuration anew; raises ConfigError with every mistake.
Read = Callable[[], tuple[Config, Catalogue]]

# What is decided once: a reload says so and leaves it as it is. By path, a table or an option.
FIXED = (
    "server.listen",
    "server.admin_listen",
    "server.reuse_port",
    "server.socket_mode",
    "server.socket_group",
    "relay.caller_server",
    "log.format",
    "store",
    "shared",
)


class Reloader:
    """Reloads, one at a time; `tls` is the context of the API's port, if it has one."""

    def __init__(
        self, live: Live, sources: Sources, tls: ssl.SSLContext | None
    ) -> None:
        self._live, self._sources, self._tls = live, sources, tls
        self._lock = asyncio.Lock()

    async def reload(self, read: Read) -> bool:
        """Whether what `read` gives is in force; otherwise everything is as before, and it is logged why."""
        async with self._lock:
            try:
                await self._apply(*await asyncio.to_thread(_prepared, read))
            except ConfigError as exc:
                self._done("rejected")
                log.error("config.rejected", problems=list(exc.problems))
            except Exception as exc:  # noqa: BLE001 - a bug here must not end who serves
                self._done("failed")
                log.error("config.failed", kind=type(exc).__name__)
            else:
                return True
            return False

    async def _apply(
        self, config: Config, catalogue: Catalogue, scales: Scales
    ) -> None:
        old, sources = self._live.parts, self._sources
        config, fixed = settled(config, old.config)
        fixed += self._renew_tls(config)
        client = await sources.client(config)
        catalogue = await sources.placed(catalogue)
        scales.use(sources.readings)
        made = made_from(config, catalogue, client, scales, old.health)
        new = attrs.evolve(old, **made)
        new.keys.use(old.keys.version, old.keys.stored)
        if old.carbon is None or config.carbon_budget != old.config.carbon_budget:
            # What was spent goes over to a budget that has changed.
            new.carbon = carbon_budgets(
                config, sources.metrics, before=old.carbon, stored=old.keys.stored
            )
        # From here on nothing waits: the next request finds all of it.
        self._live.parts, self._live.catalogue = new, catalogue
        new.health.use(config.health.limits)
        new.aftermath.use(config.relay.on_disconnect, config.relay.drain_limit_s)
        await sources.feed(config.feeds, self._live)
        self._done("applied")
        log.info(
            "config.applied",
            file=str(config.path) if config.path else None,
            models=len(new.pool.by_model),
            needs_restart=fixed,
        )
        for text in config.deprecated:
            log.warning("config.deprecated", text=text)

    def _renew_tls(self, config: Config) -> list[str]:
        """Takes renewed certificates, which are known to be good. Options that need a restart."""
        files = server_files(config.server)
        if (files is None) != (self._tls is None):
            return ["server.tls_cert_file"]
        if files is not None and self._tls is not None:
            self._tls.load_cert_chain(*files)
        return []

    def _done(self, outcome: str) -> None:
        metrics = self._sources.metrics
        metrics.config_reloads.add((outcome,))
        if outcome == "applied":
            metrics.config_loaded_at = time.time()


def settled(config: Config, old: Config) -> tuple[Config, list[str]]:
    """The configuration with what is fixed as it was, and the paths where another was wanted."""
    kept = []
    config = attrs.evolve(config, places=old.places)  # of the store and what is shared
    for path in FIXED:
        table, _, option = path.partition(".")
        now, before = getattr(config, table), getattr(old, table)
        if not option and now != before:
            config = attrs.evolve(config, **{table: before})
        elif option and getattr(now, option) != getattr(before, option):
            whole = attrs.evolve(now, **{option: getattr(before, option)})
            config = attrs.evolve(config, **{table: whole})
        else:
            continue
        kept.append(path)
    return config, kept


def _prepared(read: Read) -> tuple[Config, Catalogue, Scales]:
    """All that can be made beside the loop, which meanwhile serves."""
    config, catalogue = read()
    return config, catalogue, make_scales(config)
