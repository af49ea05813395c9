"""Feeds: what comes of a source that is well, and of one that dies, lies or hangs."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from aiohttp import web

from lowproxy.core.grid_kinds import KINDS
from lowproxy.grid import SOURCES
from lowproxy.grid.asking import running_session
from lowproxy.grid.board import Board
from lowproxy.grid.feed import MAX_REST_S, Feed, Notice, rest_s, running_feeds
from lowproxy.metrics import Metrics
from tests.fakes import LIMIT_S, Clock
from tests.grid_server import NOW, PLACES, TOKEN, FakeGrid, feed_config

KINDS_OVER_HTTP = sorted(PLACES)
# Where the number that is made up goes through a mix first.
MIXED = ("uk", "odre", "eia", "entsoe")
NUMBERS = {
    "negative": (-5, "out_of_range"),
    "a million": (1e6, "out_of_range"),
    "nothing": (None, "no_data"),
    "NaN": ("<NaN>", "garbage"),
    "beyond a double": ("<1e999>", "garbage"),
    "true": (True, "garbage"),
    "zero": (0, "out_of_range"),
}
FAULTS = {
    "401": (web.Response(status=401), "unauthorized"),
    "403": (web.Response(status=403), "forbidden"),
    "429": (web.Response(status=429), "rate_limited"),
    "500": (web.Response(status=500), "status"),
    "404": (web.Response(status=404), "status"),
    "a redirect": (
        web.Response(status=302, headers={"Location": "/zones"}),
        "status",
    ),
    "garbage": (web.Response(body=b"\x00<html>"), "garbage"),
    "nothing at all": (web.Response(body=b""), "garbage"),
    "a list in a list": (web.Response(body=b"[[]]"), "garbage"),
    "a nest": (web.Response(body=b"[" * 100_000), "garbage"),
    "too much": (web.Response(body=b" " * 300_000), "too_large"),
    "gzip": (
        web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
        "garbage",
    ),
    "hangs": ("hang", "timeout"),
    "hangs half-way": ("drip", "timeout"),
}


class Asked:
    """One feed, asked by hand."""

    def __init__(self, grid: FakeGrid, kind: str, **options: object) -> None:
        self.config = feed_config(kind, grid.base_url, **options)
        self.clock = Clock(NOW)
        self.board, self.metrics = Board((self.config,)), Metrics()

    async def round(self) -> float:
        """One round; the seconds until the next."""
        async with running_session() as session:
            feed = Feed(0, self.config, session, self.board, self.metrics, self.clock)
            return await feed.round()

    @property
    def current(self):
        """What is in use."""
        return self.board.current(self.clock())

    @property
    def failures(self):
        """How many, by reason."""
        values = self.metrics.grid_failures.values
        assert all(source == self.config.label for source, _ in values)
        return {reason: count for (_, reason), count in values.items()}


def test_every_kind_has_an_adapter():
    """The configuration knows the kinds that there are."""
    assert SOURCES.keys() == KINDS.keys()
    assert {*PLACES, "file"} == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS_OVER_HTTP)
async def test_a_reading(grid, kind):
    """The zone as we call it, the source, the moment, live, and plausible grams."""
    asked = Asked(grid, kind)
    if kind in MIXED:
        grid.number = 24
    assert await asked.round() == 600
    zone, _, _ = PLACES[kind]
    reading = asked.current[zone]
    assert asked.failures == {}
    assert reading.live
    assert (reading.zone, reading.source) == (zone, KINDS[kind].label)
    assert (reading.kind, reading.factor) == ("average", "lifecycle")
    assert reading.low == reading.grams_per_kwh == reading.high
    if kind in MIXED:
        assert 11 < reading.grams_per_kwh < 400
        assert reading.estimated
    else:
        assert reading.grams_per_kwh == 38
    assert reading.at in ("2026-11-22T10:00:00Z", "2026-11-22T10:30:00Z")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS_OVER_HTTP)
async def test_a_source_that_fails(grid, kind, fault):
    """It is counted by its reason, and the last good reading stays."""
    asked = Asked(grid, kind, timeout_s=5.0)
    grid.number = 24
    await asked.round()
    before = asked.current
    assert before
    grid.fault, reason = FAULTS[fault]
    if reason == "timeout":
        asked = Asked(grid, kind, timeout_s=0.02)
        await asked.round()
        assert asked.current == {}
    else:
        await asked.round()
        assert asked.current == before
    assert asked.failures == {reason: 1}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", [k for k in KINDS_OVER_HTTP if k not in MIXED])
async def test_a_source_that_lies(grid, kind, number):
    """No such number is ever used."""
    asked = Asked(grid, kind)
    grid.number, reason = NUMBERS[number]
    await asked.round()
    assert asked.current == {}
    assert asked.failures == {reason: 1}


@pytest.mark.parametrize("number", [1e6, 1e300, -1e6, "<NaN>", "<1e999>", "x", None])
@pytest.mark.parametrize("kind", MIXED)
async def test_a_mix_that_lies(grid, kind, number):
    """One fuel at fault: refused, or what the fuels weigh; never out of their range."""
    asked = Asked(grid, kind)
    grid.number = number
    await asked.round()
    for reading in asked.current.values():
        assert 11 <= reading.grams_per_kwh <= 840
    assert len(asked.current) + sum(asked.failures.values()) == 1
    if not isinstance(number, float) and kind != "eia":
        assert asked.current == {}


@pytest.mark.parametrize(
    "kind", ["electricitymaps", "eia", "entsoe", "carbonaware", "http"]
)
async def test_another_zone(grid, kind):
    """The caller's own zone, or anybody's, is not taken for the one asked for."""
    asked = Asked(grid, kind)
    grid.zone = "DE"
    await asked.round()
    assert asked.current == {}
    assert asked.failures in ({"wrong_zone": 1}, {"no_data": 1})


@pytest.mark.parametrize(("age_s", "reason"), [(90_000, "stale"), (-7300, "future")])
@pytest.mark.parametrize("kind", KINDS_OVER_HTTP)
async def test_another_time(grid, kind, age_s, reason):
    """Neither yesterday's figure nor tomorrow's."""
    asked = Asked(grid, kind)
    grid.number, grid.age_s = 24, age_s
    await asked.round()
    assert asked.current == {}
    assert asked.failures == {reason: 1}


async def test_what_gets_old(grid):
    """After max_age_s a reading is not used, and still told by its age."""
    asked = Asked(grid, "electricitymaps", max_age_s=3600)
    await asked.round()
    asked.clock.advance(2400)
    assert "FR" in asked.current
    asked.clock.advance(1)
    assert asked.current == {}
    assert asked.board.held(asked.clock()) == [("FR", "electricitymaps", None, 3601)]


@pytest.mark.parametrize("kind", ["electricitymaps", "eia", "entsoe"])
async def test_no_token_shows(grid, kind, told):
    """Neither in the log nor in what is printed of a question, whatever fails."""
    for fault in FAULTS.values():
        grid.fault = fault[0]
        asked = Asked(grid, kind, timeout_s=0.02)
        await asked.round()
    asked = Asked(grid, kind, url="http://127.0.0.1:1")
    await asked.round()
    assert asked.failures == {"unreachable": 1}
    assert "grid.failed" in told()
    assert TOKEN not in told()
    assert "127.0.0.1" not in told()


async def test_a_failure_is_said_once(grid, told):
    """Until the reason changes or all is well again."""
    asked = Asked(grid, "electricitymaps")
    async with running_session() as session:
        feed = Feed(0, asked.config, session, asked.board, asked.metrics, asked.clock)
        grid.fault = web.Response(status=500)
        for _ in range(3):
            await feed.round()
        grid.fault = None
        await feed.round()
    assert told().count("grid.failed") == 1
    assert told().count("grid.recovered") == 1
    assert asked.failures == {"status": 3}


async def test_a_refusal_ends_the_round(grid):
    """A source that says no is not asked for the other zones."""
    zones = {name: name for name in ("FR", "DE", "NL", "BE", "ES", "PT", "IT", "AT")}
    asked = Asked(grid, "electricitymaps", zones=zones)
    grid.fault = web.Response(status=429, headers={"Retry-After": "1800"})
    assert await asked.round() == 1800
    assert len(grid.seen) < len(zones)


async def test_a_refusal_with_a_date(grid):
    """Retry-After may be a date."""
    asked = Asked(grid, "uk")
    date = "Sun, 22 Nov 2026 10:50:00 GMT"
    grid.fault = web.Response(status=429, headers={"Retry-After": date})
    assert await asked.round() == 1800
    grid.fault = web.Response(status=429, headers={"Retry-After": "soon"})
    assert await asked.round() == 1200


def test_rests():
    """Never shorter than refresh_s, never longer than some hours, doubled per refusal."""
    assert rest_s(600, 0, 0) == 600
    assert [rest_s(600, n, 0) for n in (1, 2, 3)] == [1200, 2400, 4800]
    assert rest_s(600, 500, 0) == MAX_REST_S
    assert rest_s(600, 1, 5) == 600
    assert rest_s(600, 1, 1e9) == MAX_REST_S


async def test_many_zones_in_one_round(grid):
    """Each is asked for by its own name; one that fails costs the others nothing."""
    zones = {"FR": "FR", "SE-SE3": "SE-SE3", "DE": "DE"}
    asked = Asked(grid, "electricitymaps", zones=zones)
    await asked.round()
    assert asked.current.keys() == zones.keys()


async def test_it_publishes_what_is_new_only(grid):
    """Once per round that changed something; and when all of it has become too old."""
    published: list[Any] = []
    config = feed_config("electricitymaps", grid.base_url)
    board, clock, metrics = Board((config,)), Clock(NOW), Metrics()
    notice = Notice(board, published.append, clock)
    async with running_session() as session:
        feed = Feed(0, config, session, board, metrics, clock)
        for _ in range(2):
            await feed.round()
            notice.renew()
    assert [reading["FR"].grams_per_kwh for reading in published] == [38]
    assert notice._timer is not None
    due_s = notice._timer.when() - asyncio.get_running_loop().time()
    assert 5990 < due_s < 6001  # it is 1200 s old, and may be 7200
    clock.advance(8000)
    notice.renew()
    assert published[1:] == [{}]
    notice.close()


async def test_they_run_until_left(grid):
    """The tasks, the session and the timer end with their owner."""
    arrived = asyncio.Event()
    configs = (feed_config("uk", grid.base_url), feed_config("http", grid.base_url))
    found = {}
    grid.number = 24

    def publish(live):
        found.update(live)
        if found.keys() >= {"GB", "FR"}:
            arrived.set()

    metrics = Metrics()
    async with running_feeds(configs, publish, metrics, Clock(NOW)):
        await asyncio.wait_for(arrived.wait(), LIMIT_S)
        text = metrics.exposition().decode()
    assert 'lowproxy_grid_intensity{source="operator-http",zone="FR"} 24.0' in text
    assert 'lowproxy_grid_age_seconds{source="operator-http",zone="FR"} 1200.0' in text
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not any(name.startswith("grid-") for name in names)


async def test_it_stops_while_a_source_hangs(grid):
    """Nobody waits for a source, at the end neither."""
    grid.fault = "hang"
    config = feed_config("uk", grid.base_url, timeout_s=1000)
    async with asyncio.timeout(LIMIT_S):
        async with running_feeds((config,), lambda live: None, Metrics()):
            while not grid.seen:
                await asyncio.sleep(0)


def test_adapters_are_loaded_when_they_are_named():
    """A gateway without live sources does not even read their files."""
    code = "import sys, lowproxy.server.app; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "lowproxy.grid.feed" in loaded
    adapters = {place.partition(":")[0] for place in SOURCES.values()}
    assert adapters.isdisjoint(loaded)


async def test_no_sources_no_session(monkeypatch):
    """A gateway without live sources starts nothing."""
    monkeypatch.setattr("lowproxy.grid.feed.running_session", None)
    async with running_feeds((), lambda live: None, Metrics()):
        pass
