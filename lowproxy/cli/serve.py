"""`lowproxy serve`: run the gateway until it is told to stop."""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import secrets
import sys
from functools import partial
from pathlib import Path

import attrs
import structlog

from lowproxy.catalogue import Catalogue, open_config
from lowproxy.config import Config
from lowproxy.core.access import ApiKey
from lowproxy.core.keys import hash_key, make_key
from lowproxy.errors import ConfigError
from lowproxy.logs import set_up
from lowproxy.server.app import Gateway, running
from lowproxy.server.lifecycle import Wishes, until_stopped
from lowproxy.server.listeners import Passed, only_local, passed_on
from lowproxy.server.notify import Notifier
from lowproxy.server.reload import Read

log = structlog.get_logger("lowproxy.serve")

_MADE = "made-at-start"
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
        "--listen",
        metavar="ADDRESS",
        help="the API: HOST:PORT or unix:/PATH; default 127.0.0.1:8080",
    )
    parser.add_argument(
        "--admin-listen",
        metavar="HOST:PORT",
        help="health and metrics; default 127.0.0.1:8081",
    )
    parser.add_argument(
        "--reuse-port",
        action="store_true",
        help="share the API's port with other processes that say so",
    )
    parser.add_argument(
        "--instance",
        type=int,
        metavar="N",
        help="one of several: --reuse-port, and the admin port is 8080 + N",
    )


def run(args: argparse.Namespace) -> int:
    """Runs until SIGTERM or SIGINT; a second signal ends at once."""
    made = make_key(secrets.token_urlsafe(32))
    read = partial(_read, args, made)
    config, catalogue = read()
    passed = passed_on(os.environ, os.getpid())
    is_made = any(key.name == _MADE for key in config.keys)
    if is_made and not all(map(only_local, passed.api)):
        problem = "other machines can reach a socket that was passed on"
        raise ConfigError([f"LISTEN_FDS: {problem}, and there is no key"])
    flush = set_up(config.log.format, batched=True)
    loop_factory = None
    if sys.platform != "win32":
        import uvloop

        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            serve = _serve(config, catalogue, read, passed, made if is_made else None)
            runner.run(serve)
    finally:
        flush()
    return 0


def _read(args: argparse.Namespace, made: str) -> tuple[Config, Catalogue]:
    """The configuration as it is now, with the key `made` where it has none."""
    config, catalogue = open_config(
        args.config,
        os.environ,
        listen=args.listen,
        admin_listen=args.admin_listen,
        instance=args.instance,
    )
    if args.reuse_port:
        server = attrs.evolve(config.server, reuse_port=True)
        config = attrs.evolve(config, server=server)
    if not config.keys and not config.store.named:
        keys = (ApiKey(name=_MADE, hash=hash_key(made)),)
        config = attrs.evolve(config, keys=keys)
    return config, catalogue


async def _serve(
    config: Config, catalogue: Catalogue, read: Read, passed: Passed, made: str | None
) -> None:
    wishes = Wishes()
    wishes.heed(asyncio.get_running_loop())
    notifier = Notifier.of(os.environ, os.getpid())
    for text in config.deprecated:
        log.warning("config.deprecated", text=text)
    async with running(config, catalogue, passed) as gateway:
        _settle()
        print(banner(gateway, made), flush=True)
        await until_stopped(gateway.live, gateway.reloader, read, wishes, notifier)


def _settle() -> None:
    """What is there now stays: the collector need not look at it again, nor after every few requests.

    A request leaves few cycles behind, and a pass over the young objects of 20 000 allocations takes
    about a millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    _keep_memory()


# glibc's names for what it does with free memory, and how much of it, in bytes.
_TRIM, _MMAP = -1, -3
_KEPT_BYTES = 8 << 20
_APART_BYTES = 4 << 20


def _keep_memory() -> None:
    """What one body leaves, the next takes: glibc would return it to the kernel and ask for it again.

    A body of 200 kB is several blocks of that size, whose pages would be cleared anew for each request: a
    sixth of what it costs. Blocks beyond four megabytes are still returned at once.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM, _KEPT_BYTES)
        mallopt(_MMAP, _APART_BYTES)


def banner(gateway: Gateway, made: str | None) -> str:
    """What is active, and an example to paste. The one place where a made key is shown."""
    pool = gateway.parts.pool
    scheme = "https" if gateway.parts.config.server.tls_cert_file else "http"
    unix = gateway.listen.path
    base_url = f"{scheme}://{'localhost' if unix else gateway.listen}/api/v1"
    place = f"{base_url} on {gateway.listen}" if unix else base_url
    curl = f"curl --unix-socket {unix}" if unix else "curl"
    key = made or "$LOWROUTER_API_KEY"
    argument = repr(made) if made else 'os.environ["LOWROUTER_API_KEY"]'
    lines = [
        f"LowRouter is serving {place}  (health and metrics: http://{gateway.admin_listen})",
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
        known = gateway.parts.keys
        names = ", ".join(key.name for key in (*known.configured, *known.stored))
        none = "none yet; `lowproxy keys new NAME` puts one into the store"
        lines.append(f"  keys:      {names or none}")
    lines += [
        "",
        "Try it:",
        f"  {curl} -N {base_url}/chat/completions \\",
        f'    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\',
        f"    -d '{_EXAMPLE}'",
        "",
        "Or with the OpenAI SDK:",
        f"  client = OpenAI(base_url={base_url!r}, api_key={argument})",
        "",
    ]
    return "\n".join(lines)
