"""The page's bytes and policy, and its stream: bounded, for those who look, and not for the web."""

import asyncio
import json
import re

import pytest

from lowproxy.server import page
from lowproxy.server.page import MOST_WATCHERS, is_local, load
from tests.callers import RawCaller
from tests.gateway import settled

HTML, POLICY = load()


def test_it_is_small_and_whole():
    """Under 60 kB, and nothing in it is fetched from anywhere."""
    text = HTML.decode()
    assert len(HTML) < 60_000
    assert set(re.findall(r"https?://[^/'\"\s]+", text)) == {"http://www.w3.org"}
    assert not re.search(r"<(img|link rel=.stylesheet|script src|iframe)", text)
    assert not re.search(r"<[^>]+\son\w+=", text)
    assert not re.search(r"<[^>]+\sstyle=", text)
    assert "innerHTML" not in text


async def test_only_its_own_style_and_script_run(serve, upstream):
    """By the hash of each."""
    gateway = await serve(upstream)
    told = await gateway.admin("/")
    assert told.status == 200
    assert told.headers["content-type"] == "text/html; charset=utf-8"
    policy = told.headers["content-security-policy"]
    assert policy == POLICY
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert told.body == HTML


async def test_the_stream_of_snapshots(serve, upstream):
    """What has happened, at once; nobody's words."""
    gateway = await serve(upstream)
    await gateway.chat()
    async with RawCaller(gateway.admin_port) as caller:
        reply = await caller.get("/events")
        assert reply.headers["content-type"] == "text/event-stream"
        event = await reply.event()
        assert event is not None
    assert json.loads(event.removeprefix(b"data: "))["totals"]["requests"] == 1


async def test_who_looks_is_counted(serve, upstream):
    """Only so many at a time, and who leaves makes room."""
    gateway = await serve(upstream)
    callers = [RawCaller(gateway.admin_port) for _ in range(MOST_WATCHERS)]
    async with RawCaller(gateway.admin_port) as late:
        for caller in callers:
            await caller.__aenter__()
            assert (await caller.get("/events")).status == 200
        reply = await late.get("/events")
        assert reply.status == 503
        for caller in callers:
            await caller.__aexit__(None, None, None)


async def test_nobody_looks_no_snapshot_is_made(serve, upstream, monkeypatch):
    """And one that several look at is made once."""
    made = []
    monkeypatch.setattr(page, "EVERY_S", 60.0)
    gateway = await serve(upstream)

    def make(*_):
        made.append(1)
        return b"{}"

    monkeypatch.setattr("lowproxy.server.admin.snapshot", make)
    await settled(lambda: len(made))
    assert made == []
    async with (
        RawCaller(gateway.admin_port) as one,
        RawCaller(gateway.admin_port) as two,
    ):
        for caller in (one, two):
            assert (await caller.get("/events")).status == 200
        await settled(lambda: len(made))
        assert made == [1]


async def test_a_reader_that_does_not_read_is_dropped(serve, upstream, monkeypatch):
    """What it has not taken does not pile up."""
    monkeypatch.setattr(page, "EVERY_S", 0.0)
    monkeypatch.setattr(page, "SLOW_S", 0.05)
    gateway = await serve(upstream)
    monkeypatch.setattr(
        "lowproxy.server.admin.snapshot", lambda *_: b"1" * (1024 * 1024)
    )
    async with RawCaller(gateway.admin_port, rcvbuf=4096) as caller:
        await caller.get("/events")
        async with asyncio.timeout(10):
            while [t for t in asyncio.all_tasks() if "events" in repr(t.get_coro())]:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("host", "there"),
    [
        ("127.0.0.1:8081", 200),
        ("localhost:8081", 200),
        ("[::1]:8081", 200),
        ("evil.example:8081", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1", 403),
    ],
)
async def test_a_page_of_the_web_cannot_read_it(serve, upstream, host, there):
    """On loopback a name that was made to resolve here is refused; probes and Prometheus are not asked."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.admin_port) as caller:
        reply = await caller.get("/", headers={"Host": host})
        await reply.rest()
        assert reply.status == there
        assert is_local(host) == (there == 200)
        reply = await caller.get("/metrics", headers={"Host": host})
        await reply.rest()
        assert reply.status == 200
