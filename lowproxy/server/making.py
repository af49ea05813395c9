"""What derives from a configuration, made in one place: at the start, and again by a reload."""

import functools
import random
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import attrs

from lowproxy.catalogue import Catalogue, build_pool, routing_policy
from lowproxy.config import Config, FeedConfig, Timeouts
from lowproxy.core.affinity import Affinity
from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.eco_methods import DEFAULT, find_method
from lowproxy.core.health import Health
from lowproxy.core.model_names import ModelTable
from lowproxy.core.routing import Memo
from lowproxy.core.upstreams import Pool
from lowproxy.demo import running_demo
from lowproxy.errors import ConfigError
from lowproxy.grid.annual import AnnualGrid
from lowproxy.grid.feed import running_feeds
from lowproxy.grid.model_table import load_models
from lowproxy.metrics import Metrics
from lowproxy.server.parts import Live
from lowproxy.server.scales import Scales
from lowproxy.store.keys import KeyStore
from lowproxy.transport import fast, public
from lowproxy.transport.answer import Client, Pooled
from lowproxy.transport.dial import Way, way_of
from lowproxy.transport.dispatch import Dispatch
from lowproxy.transport.watch import Watch

# The ways up, by `relay.upstream_client`.
CLIENTS: dict[str, Callable[[Timeouts, Way], AbstractAsyncContextManager[Pooled]]] = {
    "fast": fast.running_client,
    "public": public.running_client,
}


@attrs.define
class Sources:
    """What is kept from one configuration to the next as long as it can stay as it is.

    `stack` is the gateway's: what was started once and is not in use any more ends with it.
    """

    stack: AsyncExitStack
    metrics: Metrics
    _client: Pooled | None = None
    _client_of: tuple[str, Way] | None = None
    _demo_url: str | None = None
    _feeds: AsyncExitStack | None = None
    _feeds_of: tuple[FeedConfig, ...] = ()
    readings: Mapping[str, CarbonIntensity] = attrs.field(factory=dict)

    async def client(self, config: Config) -> Client:
        """The way up; its connections stay where nothing but time limits changes."""
        wanted = (config.relay.upstream_client, way_of(config))
        if self._client is None or wanted != self._client_of:
            running_client = CLIENTS[wanted[0]](config.timeouts, wanted[1])
            self._client = await self.stack.enter_async_context(running_client)
            self._client_of = wanted
        return self._client.limited(config.timeouts)

    async def placed(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue, with the demo's endpoints where the demo answers."""
        if not catalogue.demo:
            return catalogue
        if self._demo_url is None:
            models = [model.id for model in catalogue.models]
            demo = running_demo(models)
            self._demo_url = await self.stack.enter_async_context(demo)
        return catalogue.demo_rows(self._demo_url)

    async def feed(self, configs: tuple[FeedConfig, ...], live: Live) -> None:
        """Asks these sources from now on; those that are asked already go on."""
        if self._feeds is not None and same_feeds(configs, self._feeds_of):
            return
        if self._feeds is None:
            # Closed with the gateway, whichever they are by then.
            self.stack.push_async_callback(self._close_feeds)
        await self._close_feeds()
        self._feeds = AsyncExitStack()
        use = functools.partial(self.use, live)
        if self.readings:
            use({})  # of sources that are not asked any more
        feeds = running_feeds(configs, use, self.metrics)
        await self._feeds.enter_async_context(feeds)
        self._feeds_of = configs

    def use(self, live: Live, readings: Mapping[str, CarbonIntensity]) -> None:
        """Weighs, and ranks, by new live readings; requests under way notice nothing."""
        self.readings = readings
        parts = live.parts
        parts.scales.use(readings)
        parts.pool = _pool(parts.config, live.catalogue, parts.scales)
        parts.memo = Memo()

    async def _close_feeds(self) -> None:
        if self._feeds is not None:
            await self._feeds.aclose()


def made_from(
    config: Config, catalogue: Catalogue, client: Client, scales: Scales, health: Health
) -> dict[str, Any]:
    """The fields of `Parts` that a configuration decides. All others outlive it.

    `catalogue` has its endpoints. What has to be made anew by a reload belongs here.
    """
    return {
        "config": config,
        "keys": KeyStore(config.keys),
        "pool": _pool(config, catalogue, scales),
        "memo": Memo(),
        "affinity": _affinity(config),
        "dispatch": Dispatch.make(client, health, config, time.monotonic),
        "scales": scales,
        "body_watch": Watch(config.timeouts.body_s),
    }


def _affinity(config: Config) -> Affinity | None:
    """Forgotten by a reload: a conversation may then move once."""
    if not config.routing.affinity:
        return None
    return Affinity(secrets.token_bytes(16), config.routing.affinity_ttl_s)


def _pool(config: Config, catalogue: Catalogue, scales: Scales) -> Pool:
    policy = routing_policy(config)
    return build_pool(catalogue, scales.typical, config.auto.models, policy)


def make_scales(config: Config) -> Scales:
    """The scales for the configured methodology. Raises ConfigError where there is no such one."""
    try:
        method = (
            find_method(config.eco.methodology) if config.eco.methodology else DEFAULT
        )
    except KeyError as exc:
        raise ConfigError([f"eco.methodology: {exc.args[0]}"]) from None
    return Scales(method, *_tables(), config.routing.carbon_signal)


@functools.cache
def _tables() -> tuple[ModelTable, AnnualGrid]:
    """The tables of the package: they do not change under a running process."""
    return load_models(), AnnualGrid.load()


def same_feeds(some: tuple[FeedConfig, ...], others: tuple[FeedConfig, ...]) -> bool:
    """Whether the same is asked of the same, with the same credentials."""
    return list(map(_said, some)) == list(map(_said, others))


def _said(feed: FeedConfig) -> tuple[FeedConfig, str | None]:
    token = feed.token.reveal() if feed.token else None
    return attrs.evolve(feed, token=None), token


def pick(user: str | None, n: int) -> int:
    """One of n equals: the same for the same user while the process runs, else any."""
    return hash(user) % n if user else random.randrange(n)
