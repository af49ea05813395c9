"""A gateway with live grid sources: what its answers say, and what becomes of them when a source fails."""

import asyncio
import time
from typing import Any

import pytest
from aiohttp import web

from lowproxy.grid.annual import AnnualGrid
from tests.fakes import LIMIT_S
from tests.gateway import Place, asking
from tests.grid_server import FakeGrid

ANNUAL = AnnualGrid.load()
FULL = "[eco]\nfull = true\n"
FAULTS: dict[str, dict[str, Any]] = {
    "401": {"fault": web.Response(status=401)},
    "429": {"fault": web.Response(status=429, headers={"Retry-After": "9"})},
    "500": {"fault": web.Response(status=500)},
    "garbage": {"fault": web.Response(body=b"<html>")},
    "too much": {"fault": web.Response(body=b"[" * 300_000)},
    "negative": {"number": -5},
    "a million": {"number": 1e6},
    "NaN": {"number": "<NaN>"},
    "null": {"number": None},
    "another zone": {"zone": "PL"},
    "yesterday": {"age_s": 90_000},
    "tomorrow": {"age_s": -90_000},
}


@pytest.fixture
async def grid():
    """Every live source on one port, telling of twenty minutes ago."""
    async with FakeGrid() as server:
        server.now = time.time()
        yield server


def source(grid, **options):
    """A row for the operator's own endpoint."""
    told = "".join(f"{name} = {value}\n" for name, value in options.items())
    return f'[[grid.sources]]\nkind = "http"\nurl = "{grid.base_url}/zones"\n{told}'


async def until(condition):
    """Lets the loop turn until it is so."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0)


async def grid_of(gateway, **fields):
    """What an answer says of the grid; that the answer is whole."""
    told = await gateway.chat(**fields)
    assert told.status == 200
    eco = told.json()["lowrouter"]["eco"]
    assert ("grid_age_s" in eco) == eco["grid"]["live"]
    grams = eco["energy_wh"] * eco["grid"]["intensity_g_per_kwh"] / 1000
    assert eco["carbon_g"] == pytest.approx(grams, rel=1e-5)
    return eco["grid"]


async def test_a_live_reading(serve, upstream, grid):
    """Answers are weighed by it, and say its source and its moment; so do lists and metrics."""
    gateway = await serve(upstream, extra=FULL + source(grid))
    await until(lambda: gateway.parts.scales.reading(place(gateway)).live)
    eco = (await gateway.chat()).json()["lowrouter"]["eco"]
    assert 1190 <= eco["grid_age_s"] <= 1260  # the source tells of twenty minutes ago
    told = await grid_of(gateway)
    assert told.pop("at") < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert told == {
        "zone": "FR",
        "intensity_g_per_kwh": 38,
        "kind": "average",
        "factor": "lifecycle",
        "source": "operator-http",
        "live": True,
    }
    async with gateway.caller() as caller:
        rows = await (await caller.get("/api/v1/providers")).json()
    listed = rows["data"][0]["endpoints"][0]["grid"]
    assert listed["live"]
    assert (listed["zone"], listed["intensity_g_per_kwh"]) == ("FR", 38)
    assert 1200 <= listed["age_s"] < 1200 + LIMIT_S
    metrics = (await gateway.admin("/metrics")).body.decode()
    assert 'lowproxy_grid_intensity{source="operator-http",zone="FR"} 38.0' in metrics


async def test_no_request_asks_a_source(serve, upstream, grid):
    """However many there are, it is the rounds that ask."""
    gateway = await serve(upstream, extra=FULL + source(grid))
    await until(lambda: gateway.parts.scales.reading(place(gateway)).live)
    for _ in range(5):
        await gateway.chat()
        await gateway.chat(asking())
    assert len(grid.seen) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_source_that_dies_or_lies(serve, upstream, grid, fault):
    """It is counted; requests are served, and weighed by the mean of the year."""
    for name, value in FAULTS[fault].items():
        setattr(grid, name, value)
    gateway = await serve(upstream, extra=FULL + source(grid, zones='["FR"]'))
    await until(lambda: gateway.parts.metrics.grid_failures.values)
    told = await grid_of(gateway)
    annual = ANNUAL.intensity("FR", "eu-west")
    assert (told["live"], told["source"], told["at"]) == (False, "owid-ember", "2025")
    assert told["intensity_g_per_kwh"] == annual.grams_per_kwh
    assert (
        "lowproxy_grid_failures_total"
        in (await gateway.admin("/metrics")).body.decode()
    )


@pytest.mark.parametrize("fault", ["hang", "drip"])
async def test_a_source_that_hangs(serve, upstream, grid, fault):
    """Requests are served while it does, streamed and whole, and the gateway stops."""
    grid.fault = fault
    gateway = await serve(upstream, extra=FULL + source(grid, timeout_s=1000))
    await until(lambda: grid.seen)
    for _ in range(5):
        assert not (await grid_of(gateway))["live"]
        assert (await gateway.chat(asking())).status == 200
    assert len(grid.seen) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_source_that_dies_later(serve, upstream, grid, fault):
    """The last good reading stays, and says its moment."""
    extra = FULL + source(grid, refresh_s=0.001, zones='["FR"]')
    gateway = await serve(upstream, extra=extra)
    await until(lambda: gateway.parts.scales.reading(place(gateway)).live)
    before = await grid_of(gateway)
    for name, value in FAULTS[fault].items():
        setattr(grid, name, value)
    await until(lambda: gateway.parts.metrics.grid_failures.values)
    assert await grid_of(gateway) == before


async def test_routing_follows(serve, upstream, other, grid):
    """The pool and what it remembers are swapped together when the order changes."""
    places = Place(upstream, zone="FR"), Place(other, zone="SE")
    grid.fault, grid.number = web.Response(status=500), 20
    gateway = await serve(*places, extra=FULL + source(grid, refresh_s=0.001))
    assert (await grid_of(gateway))["zone"] == "SE"
    grid.fault = None
    await until(lambda: gateway.parts.scales.reading(place(gateway)).live)
    told = await grid_of(gateway)
    assert (told["zone"], told["intensity_g_per_kwh"]) == ("FR", 20)


async def test_a_direct_factor_ranks_nothing(serve, upstream, other, grid):
    """It would win beside life cycle factors by definition; answers are weighed by it."""
    places = Place(upstream, zone="FR"), Place(other, zone="SE")
    grid.number = 20
    gateway = await serve(*places, extra=FULL + source(grid, factor='"direct"'))
    await until(lambda: gateway.parts.scales.reading(place(gateway)).live)
    assert (await grid_of(gateway))["zone"] == "SE"
    told = await grid_of(gateway, route={"provider": "p1"})
    assert (told["zone"], told["factor"]) == ("FR", "direct")
    assert told["intensity_g_per_kwh"] == 20


def place(gateway):
    """Where the first candidate stands."""
    (candidates,) = gateway.parts.pool.by_model.values()
    return candidates[0].endpoint


async def test_a_marginal_signal_ranks_and_weighs_nothing(
    serve, upstream, other, tmp_path
):
    """The same request goes where the margin is cleaner; its grams are the average ones of that place."""
    told = {}
    (tmp_path / "margin.json").write_text('{"FR": 900.0, "PL": 10.0}')
    row = (
        '[[grid.sources]]\nkind = "file"\nsignal = "marginal"\nfactor = "direct"\n'
        f'path = "{tmp_path / "margin.json"}"\n'
    )
    for signal in ("average", "marginal"):
        extra = f'{FULL}{row}[routing]\ncarbon_signal = "{signal}"\n'
        places = Place(upstream, zone="FR"), Place(other, zone="PL")
        gateway = await serve(*places, extra=extra)
        await until(lambda g=gateway: g.parts.scales._grid.has_marginal)
        told[signal] = await grid_of(gateway)
        metrics = (await gateway.admin("/metrics")).body.decode()
        assert 'source="operator-file-marginal",zone="FR"} 900.0' in metrics
    assert [each["zone"] for each in told.values()] == ["FR", "PL"]
    for each in told.values():
        assert (each["kind"], each["live"]) == ("average", False)
        annual = ANNUAL.intensity(each["zone"], "eu-west")
        assert each["intensity_g_per_kwh"] == annual.grams_per_kwh
