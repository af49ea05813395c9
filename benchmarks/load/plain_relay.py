"""A plain relay: what one writes first with aiohttp, as the yardstick beside nginx.

It has no duties: no keys, no routing, no usage, no eco. An answer is pulled chunk by
chunk from aiohttp's client and written to aiohttp's server.
"""

import argparse
from collections.abc import AsyncIterator, Iterable

import aiohttp
import uvloop
from aiohttp import web

SESSION = web.AppKey("session", aiohttp.ClientSession)
UPSTREAM = web.AppKey("upstream", str)
OF_THE_HOP = frozenset(
    ("connection", "content-length", "host", "keep-alive", "transfer-encoding")
)


async def relay(request: web.Request) -> web.StreamResponse:
    """Send the request on and hand its answer back."""
    sent = await request.app[SESSION].request(
        request.method,
        request.app[UPSTREAM] + request.raw_path,
        data=await request.read(),
        headers=passed_on(request.headers.items()),
    )
    async with sent as answer:
        headers = passed_on(answer.headers.items())
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
    return response


def passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers that are not of one connection only."""
    return [(k, v) for k, v in headers if k.lower() not in OF_THE_HOP]


async def session(app: web.Application) -> AsyncIterator[None]:
    """One client session for the life of the server, without limits."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as made:
        app[SESSION] = made
        yield


def main() -> None:
    """Listen on a port of loopback until ended."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("port", type=int)
    options.add_argument("upstream", help="http://HOST:PORT")
    chosen = options.parse_args()
    app = web.Application(client_max_size=64 * 2**20)
    app[UPSTREAM] = chosen.upstream
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", relay)
    uvloop.install()
    web.run_app(
        app,
        host="127.0.0.1",
        port=chosen.port,
        access_log=None,
        backlog=4096,
        print=lambda *_: None,
    )


if __name__ == "__main__":
    main()
