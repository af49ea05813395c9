"""How figures are made: `GET /eco/methodologies` and `/eco/methodologies/{version}`."""

import asyncio

import orjson

from lowproxy.core.eco import Method
from lowproxy.core.eco_manifest import manifest, summary
from lowproxy.core.eco_methods import DEFAULT, METHODS, find_method
from lowproxy.errors import UnknownPathError
from lowproxy.grid.manifest import load_data_files
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.server.wire import Reply, Request, send


async def list_methodologies(
    parts: Parts, request: Request, exchange: Exchange
) -> Reply:
    """`GET /eco/methodologies`: what there is, and which makes this gateway's figures."""
    data = [summary(each, _is_active(parts, each)) for each in METHODS.values()]
    return _send(request, exchange, {"object": "list", "data": data})


async def get_methodology(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """`GET /eco/methodologies/{version}`: all that a figure can be worked out again with.

    A short name such as `roofline` will do. Raises UnknownPathError with those there are.
    """
    wanted = request.path.partition("/eco/methodologies/")[2]
    try:
        method = find_method(wanted)
    except KeyError:
        known = ", ".join(f"{m.version} ({m.name})" for m in METHODS.values())
        raise UnknownPathError(f"no such methodology; there are {known}") from None
    files = await asyncio.to_thread(load_data_files)
    return _send(request, exchange, manifest(method, files, _is_active(parts, method)))


def _is_active(parts: Parts, method: Method) -> bool:
    chosen = parts.config.eco.methodology
    return method == (find_method(chosen) if chosen else DEFAULT)


def _send(request: Request, exchange: Exchange, value: object) -> Reply:
    exchange.http_status = 200
    return send(request, 200, exchange.answer_fields(), orjson.dumps(value))
