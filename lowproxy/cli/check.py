"""`lowproxy check`: what is wrong with a configuration, or what it would do."""

import argparse
import datetime
import os
from collections.abc import Iterator
from pathlib import Path

from lowproxy.catalogue import Catalogue, open_config
from lowproxy.cli.grace import needed_s, of_manifest, of_unit, seen, too_short
from lowproxy.config import Config, FeedConfig
from lowproxy.config.money import OLD_DAYS, rates
from lowproxy.core.access import ApiKey
from lowproxy.core.grid_reading import MARGINAL
from lowproxy.core.upstreams import region_matches
from lowproxy.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--listen", metavar="ADDRESS")
    parser.add_argument("--admin-listen", metavar="HOST:PORT")
    parser.add_argument("--instance", type=int, metavar="N", help="as with serve")
    for option, what in (("--unit", "systemd unit"), ("--manifest", "manifest")):
        parser.add_argument(
            option,
            type=Path,
            action="append",
            default=[],
            metavar="FILE",
            help=f"a {what} that has to give it the time to stop",
        )


def run(args: argparse.Namespace) -> int:
    """Prints the summary; raises ConfigError where something is wrong."""
    config, catalogue = open_config(
        args.config,
        os.environ,
        listen=args.listen,
        admin_listen=args.admin_listen,
        instance=args.instance,
    )
    named = [of_unit(path) for path in args.unit]
    named += [each for path in args.manifest for each in of_manifest(path)]
    if problems := list(too_short(config, named)):
        raise ConfigError(problems)
    for line in summary(config, catalogue):
        print(line)
    for note in too_short(config, seen(os.environ)):
        print(f"note: {note}")
    return 0


def summary(config: Config, catalogue: Catalogue) -> Iterator[str]:
    """What a gateway with this configuration would do; no credential is in it."""
    yield f"configuration  {config.path or 'none found: built-in defaults'}"
    yield f"listen         {config.server.listen}"
    yield f"admin          {config.server.admin_listen}"
    need_s = needed_s(config)
    yield f"stop           {'may take for ever' if need_s is None else f'at most {need_s:g} s'}"
    none = "those of the store" if config.store.named else "none: one is made at start"
    yield f"keys           {', '.join(map(_key, config.keys)) or none}"
    if catalogue.demo:
        catalogue = catalogue.demo_rows("http://127.0.0.1")
        yield "providers      no provider key in the environment: the embedded demo"
    else:
        yield "providers"
    yield from _providers(catalogue)
    ids = {model.id for model in catalogue.models}
    yield f"models         {len(ids)}"
    auto = [name for name in config.auto.models if name in ids]
    yield f"auto           {', '.join(auto) or 'any of them'}"
    yield f"grid           {', '.join(map(_feed, config.feeds)) or 'the mean of a year'}"
    if config.proxy is not None:
        spared = ", ".join(config.proxy.bypassed)
        without = f", not for {spared}" if spared else ""
        yield f"proxy          {config.proxy.host}:{config.proxy.port}{without}"
    for note in (*config.deprecated, *_notes(config, catalogue)):
        yield f"note: {note}"


def _key(key: ApiKey) -> str:
    limits = [*key.models, *key.providers, *([key.region] if key.region else [])]
    off = [] if key.enabled else ["disabled"]
    return f"{key.name} ({'; '.join(limits + off)})" if limits + off else key.name


def _feed(feed: FeedConfig) -> str:
    return f"{feed.label} ({', '.join(feed.zones) or 'all zones'})"


def _providers(catalogue: Catalogue) -> Iterator[str]:
    width = max((len(each.id) for each in catalogue.providers), default=0)
    for provider in catalogue.providers:
        places = [e for e in catalogue.endpoints if e.provider.id == provider.id]
        regions = dict.fromkeys(each.region for each in places)
        count = sum(model.provider == provider.id for model in catalogue.models)
        held = len({key for each in places for key in each.provider.credentials})
        credential = {0: "without a key", 1: "key found"}.get(
            held, f"{held} keys found"
        )
        where = ", ".join(regions)
        yield f"  {provider.id:{width}}  {where}; {credential}; {count} models"


def _notes(config: Config, catalogue: Catalogue) -> Iterator[str]:
    """What is allowed and probably not meant."""
    ids = {model.id for model in catalogue.models}
    for name in config.auto.models:
        if name not in ids:
            yield f"auto.models: {name} is known, but no provider in use serves it"
    served = {model.provider for model in catalogue.models}
    for provider in catalogue.providers:
        if provider.id not in served:
            yield f"the provider {provider.id} has no [[models]] row, so it gets nothing"
    for provider in catalogue.providers:
        rows = [m for m in catalogue.models if m.provider == provider.id]
        if any(m.price_prompt is not None and m.prices is None for m in rows) and (
            provider.currency not in rates(config.billing)
        ):
            yield (
                f"the provider {provider.id} is paid in {provider.currency}, which has no [[billing.rates]] row: "
                f"its costs in {config.billing.currency} are unknown"
            )
    for row in config.billing.rates:
        age = (datetime.datetime.now(datetime.UTC).date() - row.date).days
        if age > OLD_DAYS:
            yield f"the rate of {row.currency} in billing.rates is {age} days old"
    if config.routing.carbon_signal != MARGINAL:
        for feed in config.feeds:
            if feed.signal == MARGINAL:
                yield f'{feed.label} is asked for nothing: routing.carbon_signal is not "marginal"'
    regions = {endpoint.region for endpoint in catalogue.endpoints}
    for key in config.keys:
        pin = key.region
        if pin and not any(region_matches(region, pin) for region in regions):
            yield f"the key {key.name} is pinned to {pin}, where nothing is served"
    if catalogue.dormant:
        wishes = ", ".join(f"{name} ({it})" for name, it in catalogue.dormant.items())
        yield f"known, and not in use for want of a key: {wishes}"
