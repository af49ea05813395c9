"""The page of the admin port, and the stream of snapshots that keeps it live.

One file without a build step, without a cookie, without a request to anybody else. Snapshots are made once
a second for all who look, and not at all when nobody does.
"""

import asyncio
import base64
import hashlib
import ipaddress
import re
import time
from collections.abc import Callable
from importlib import resources

from aiohttp import web

# A person looks, or three; more would be a mistake, and each costs a connection.
MOST_WATCHERS = 16
EVERY_S = 1.0
# A reader that has not taken a snapshot by then is not looking.
SLOW_S = 5.0

# What the page shows, as JSON; the time is in seconds since the epoch.
Snapshot = Callable[[float], bytes]


class Page:
    """`GET /` and `GET /events`, for the admin application."""

    def __init__(self, snapshot: Snapshot, *, loopback: bool) -> None:
        self._snapshot = snapshot
        self._loopback = loopback
        self._last = b""
        self._made_at = float("-inf")
        self._watchers: set[asyncio.Task[object]] = set()
        self.html, self.policy = load()

    def add_to(self, app: web.Application) -> None:
        """Its routes, and its end."""
        app.router.add_get("/", self.page)
        app.router.add_get("/events", self.events)
        app.on_shutdown.append(self._close)

    async def page(self, request: web.Request) -> web.Response:
        """The page itself: the same bytes for everybody."""
        self._check(request)
        return web.Response(
            body=self.html,
            content_type="text/html",
            charset="utf-8",
            headers={
                "Content-Security-Policy": self.policy,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cache-Control": "no-store",
            },
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Snapshots as server-sent events, one a second, until the reader leaves or falls behind."""
        self._check(request)
        if len(self._watchers) >= MOST_WATCHERS:
            raise web.HTTPServiceUnavailable(text="too many are looking already")
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        self._watchers.add(task)
        try:
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream",
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",
                }
            )
            await response.prepare(request)
            while True:
                try:
                    async with asyncio.timeout(SLOW_S):
                        await response.write(b"data: " + self._now() + b"\n\n")
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    return response
                await asyncio.sleep(EVERY_S)
        finally:
            self._watchers.discard(task)

    def _now(self) -> bytes:
        """The snapshot of this second, made by the first who asks."""
        now = time.monotonic()
        if now - self._made_at > EVERY_S * 0.9:
            self._last, self._made_at = self._snapshot(time.time()), now
        return self._last

    def _check(self, request: web.Request) -> None:
        """On loopback only a name of loopback will do.

        Else a page of the web could have its own name resolve to this machine, and read what is here.
        """
        if self._loopback and not is_local(request.host):
            raise web.HTTPForbidden(text="ask for it as localhost or by its address")

    async def _close(self, app: web.Application) -> None:
        for task in list(self._watchers):
            task.cancel()


def is_local(host: str) -> bool:
    """Whether a Host field names loopback by itself: an address, or localhost."""
    name = re.sub(r":\d+$", "", host).strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def load() -> tuple[bytes, str]:
    """The page's bytes, and the policy that lets nothing but its own style and script run."""
    html = (resources.files("lowproxy") / "data" / "page.html").read_bytes()
    style, script = (
        _hash(re.search(rb"<%b>(.*?)</%b>" % (tag, tag), html, re.DOTALL))
        for tag in (b"style", b"script")
    )
    policy = (
        f"default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _hash(found: re.Match[bytes] | None) -> str:
    assert found is not None, "the page has one style and one script"
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1]).digest()).decode()}'"
