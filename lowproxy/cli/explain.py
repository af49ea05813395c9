"""`lowproxy explain MODEL`: where a request would go and why, without sending anything."""

import argparse
import os
from pathlib import Path
from typing import Any

import orjson

from lowproxy.catalogue import build_pool, open_config, routing_policy
from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.routing import decide
from lowproxy.core.routing_trace import trace
from lowproxy.core.score import BYTES_PER_TOKEN
from lowproxy.errors import LowproxyError
from lowproxy.server.making import make_scales


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lowproxy explain`."""
    parser.add_argument(
        "model", help="a model id, lowrouter/auto or lowrouter/auto-cheap"
    )
    parser.add_argument("--region", help="as route.region")
    parser.add_argument("--zone", help="as route.zone")
    parser.add_argument("--provider", help="as route.provider")
    parser.add_argument("--sort", help="as provider.sort")
    parser.add_argument(
        "--max-carbon", type=float, metavar="GRAMS", help="as route.max_carbon_g"
    )
    parser.add_argument(
        "--prompt-tokens",
        type=int,
        default=500,
        metavar="N",
        help="the size of the prompt (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="default: the model's usual answer"
    )
    parser.add_argument(
        "--key",
        metavar="NAME",
        help="as the key of that name; default: one without limits",
    )
    parser.add_argument("--json", action="store_true", help="as `route.trace` tells it")
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
    weigh, policy = make_scales(config).typical, routing_policy(config)
    pool = build_pool(catalogue, weigh, config.auto.models, policy)
    try:
        decision = decide(ChatRequest.parse(_body(args)), key, pool)
    except LowproxyError as failure:
        told = trace(failure.decision) if failure.decision is not None else {}
        if args.json:
            print(_json({**failure.body(), "trace": told}))
        else:
            print(f"{failure.status} {failure.code}: {failure.message}")
            print("\n".join(_rejected(told)), end="\n" if told else "")
        return 1
    told = trace(decision)
    print(_json(told) if args.json else table(told))
    return 0


def table(told: dict[str, Any]) -> str:
    """A trace as lines of text."""
    scale, expected = told["scale"], told["expected"]
    shares = ", ".join(f"{n} {scale[n]:g}" for n in ("carbon", "latency", "price"))
    size = f"{expected['prompt_tokens']} of the prompt, answer: {expected['completion_tokens']}"
    lines = [
        f"ordered by {told['ordered_by']} ({scale['name']}: {shares}); tokens: {size}",
        "the first one would be asked, the others if it fails:",
    ]
    for place, row in enumerate(told["candidates"], 1):
        zone = f", {row['zone']}" if row["zone"] else ""
        lines.append(
            f"  {place}. {row['candidate']}"
            f"  region {row['region']} ({row['region_provenance']}{zone})"
            f"  {_amount(row['carbon_g'])} g CO2e"
            f"  {_amount(row['latency_s'])} s"
            f"  {_amount(row['price'])} {row['currency']}"
            f"  score {row['score']:.3g}"
        )
    choice, default = told["choice"], told["default"]
    lines.append(f"  {choice['reason']}; by price alone: {default['candidate']}")
    if told.get("saved_g"):
        less = "less" if told["saved_g"] > 0 else "more"
        lines[-1] += f", {abs(told['saved_g']):.3g} g {less} than that"
    return "\n".join([*lines, *_rejected(told)])


def _rejected(told: dict[str, Any]) -> list[str]:
    return [
        f"  -  {r['candidate']}: {r['rule']}: {r['reason']}"
        for r in told.get("rejected", ())
    ]


def _body(args: argparse.Namespace) -> bytes:
    text = "?" * max(1, args.prompt_tokens * BYTES_PER_TOKEN)
    route = {
        "region": args.region,
        "zone": args.zone,
        "provider": args.provider,
        "max_carbon_g": args.max_carbon,
    }
    body = {
        "model": args.model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": args.max_tokens,
        "route": route,
        "provider": {"sort": args.sort},
    }
    return orjson.dumps(body)


def _json(told: dict[str, Any]) -> str:
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()


def _amount(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
