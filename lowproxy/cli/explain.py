"""`lowproxy explain MODEL`: where a request would go and why, without sending anything."""

import argparse
import os
from pathlib import Path

import orjson

from lowproxy.catalogue import build_pool, open_config
from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.routing import RouteDecision, decide
from lowproxy.errors import LowproxyError
from lowproxy.server.making import make_scales


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lowproxy explain`."""
    parser.add_argument(
        "model", help="a model id, lowrouter/auto or lowrouter/auto-cheap"
    )
    parser.add_argument("--region", help="as route.region")
    parser.add_argument("--provider", help="as route.provider")
    parser.add_argument(
        "--key",
        metavar="NAME",
        help="as the key of that name; default: one without limits",
    )
    parser.add_argument("--config", type=Path, metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Prints the candidates, best first, and who was rejected; 1 where nothing can serve."""
    config, catalogue = open_config(args.config, os.environ)
    keys = {key.name: key for key in config.keys}
    if args.key and args.key not in keys:
        print(f"no key {args.key!r}; there are: {', '.join(keys) or 'none'}")
        return 2
    key = keys[args.key] if args.key else ApiKey(name="explain", hash="")
    if catalogue.demo:
        catalogue = catalogue.demo_rows("http://127.0.0.1")
    pool = build_pool(catalogue, make_scales(config).typical, config.auto.models)
    route = {"region": args.region, "provider": args.provider}
    body = {
        "model": args.model,
        "messages": [{"role": "user", "content": "?"}],
        "route": route,
    }
    try:
        decision = decide(ChatRequest.parse(orjson.dumps(body)), key, pool)
    except LowproxyError as failure:
        print(f"{failure.status} {failure.code}: {failure.message}")
        return 1
    print(table(decision))
    return 0


def table(decision: RouteDecision) -> str:
    """The decision as lines of text."""
    lines = [
        f"ordered by {decision.ordered_by}; the first one would be asked, the others if it fails:"
    ]
    for place, candidate in enumerate(decision.candidates, 1):
        grams, price = candidate.carbon_g_per_1k, candidate.price_per_1k
        lines.append(
            f"  {place}. {candidate.id}  region {candidate.endpoint.region} ({candidate.endpoint.provenance})"
            f"  {'unknown' if grams is None else f'{grams:.4g}'} gCO2e/1k"
            f"  {'unknown' if price is None else f'{price:.4g} {candidate.endpoint.provider.currency}'}/1k"
        )
    lines += [f"  -  {r.candidate}: {r.rule}: {r.reason}" for r in decision.rejections]
    return "\n".join(lines)
