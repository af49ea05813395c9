"""`lowproxy serve`: run the gateway until it is told to stop."""

import argparse
import asyncio
import gc
import os
import secrets
import signal
import sys
from pathlib import Path

import attrs

from lowproxy.catalogue import Catalogue, open_config
from lowproxy.config import Config
from lowproxy.core.access import ApiKey
from lowproxy.core.keys import hash_key, make_key
from lowproxy.logs import set_up
from lowproxy.server.app import Gateway, running

_EXAMPLE = (
    '{"model": "lowrouter/auto", "stream": true, '
    '"messages": [{"role": "user", "content": "Count to 5"}]}'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lowproxy serve`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="default: ./lowproxy.toml, /etc/lowproxy/lowproxy.toml",
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="the API; default 127.0.0.1:8080"
    )
    parser.add_argument(
        "--admin-listen",
        metavar="HOST:PORT",
        help="health and metrics; default 127.0.0.1:8081",
    )


def run(args: argparse.Namespace) -> int:
    """Runs until SIGTERM or SIGINT; a second signal ends at once."""
    config, catalogue = open_config(
        args.config, os.environ, listen=args.listen, admin_listen=args.admin_listen
    )
    made = None
    if not config.keys:
        made = make_key(secrets.token_urlsafe(32))
        config = attrs.evolve(
            config, keys=(ApiKey(name="made-at-start", hash=hash_key(made)),)
        )
    flush = set_up(config.log.format, batched=True)
    loop_factory = None
    if sys.platform != "win32":
        import uvloop

        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_serve(config, catalogue, made))
    finally:
        flush()
    return 0


async def _serve(config: Config, catalogue: Catalogue, made: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopping() -> None:
        if stop.is_set():
            os._exit(1)  # asked twice: whoever asks does not want to wait
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping)
    async with running(config, catalogue) as gateway:
        _settle()
        print(banner(gateway, made), flush=True)
        await stop.wait()


def _settle() -> None:
    """What is there now stays: the collector need not look at it again, nor after every few requests.

    A request leaves few cycles behind, and a pass over the young objects of 20 000 allocations takes
    about a millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def banner(gateway: Gateway, made: str | None) -> str:
    """What is active, and an example to paste. The one place where a made key is shown."""
    pool = gateway.parts.pool
    base_url = f"http://{gateway.listen}/api/v1"
    key = made or "$LOWROUTER_API_KEY"
    argument = repr(made) if made else 'os.environ["LOWROUTER_API_KEY"]'
    lines = [
        f"LowRouter is serving {base_url}  (health and metrics: http://{gateway.admin_listen})",
        f"  providers: {', '.join(pool.providers)}",
        f"  regions:   {', '.join(pool.regions)}",
        f"  models:    {len(pool.by_model)}, and lowrouter/auto, lowrouter/auto-cheap",
    ]
    if gateway.catalogue.demo:
        lines.append(
            "  No provider key was found, so a built-in demo answers: it is no language model."
        )
    if made:
        lines.append(
            f"  key:       {made}  (made now, shown once, gone when this process ends)"
        )
    else:
        names = ", ".join(k.name for k in gateway.parts.config.keys)
        lines.append(f"  keys:      {names}")
    lines += [
        "",
        "Try it:",
        f"  curl -N {base_url}/chat/completions \\",
        f'    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\',
        f"    -d '{_EXAMPLE}'",
        "",
        "Or with the OpenAI SDK:",
        f"  client = OpenAI(base_url={base_url!r}, api_key={argument})",
        "",
    ]
    return "\n".join(lines)
