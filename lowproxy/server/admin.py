"""The admin port: `/livez` (alive), `/readyz` (can route), `/metrics` (Prometheus), `/` (a page to look at).

Nothing of the API.
"""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from lowproxy.server.admin_keys import add_keys
from lowproxy.server.page import Page
from lowproxy.server.parts import Live
from lowproxy.server.snapshot import snapshot

# Why the gateway cannot route, or None.
Ready = Callable[[], str | None]


def admin_app(ready: Ready, live: Live) -> web.Application:
    """An ordinary application: nothing here is hot."""

    async def livez(request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(request: web.Request) -> web.Response:
        reason = ready()
        if reason is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready", "reason": reason}, status=503)

    async def exposition(request: web.Request) -> web.Response:
        return web.Response(
            body=live.parts.metrics.exposition(),
            headers={"Content-Type": CONTENT_TYPE_LATEST},
        )

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
    add_keys(app, live)
    page = Page(
        lambda now: snapshot(live.parts, ready(), now),
        loopback=live.parts.config.server.admin_listen.loopback,
    )
    page.add_to(app)
    return app
