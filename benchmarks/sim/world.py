"""The simulated world: places and their grids, requests, latencies, outages. Everything is drawn from a seed.

Measured: the grids, and the shape of the requests (README.md says of whom). Assumed, and named here: where
callers are, how quick and how reliable a place is, and which price stands at which place.
"""

import json
from bisect import bisect_right
from itertools import accumulate
from math import acos, cos, exp, log, radians, sin
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import attrs

from lowproxy.catalogue import Catalogue
from lowproxy.core.chat import ChatRequest
from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Provider

HERE = Path(__file__).parent
HOUR_S = 3600.0
WEEK_S = 7 * 24 * HOUR_S
MODEL = "meta-llama/llama-3.3-70b-instruct"
CALLERS = (50.1, 8.7)  # Frankfurt
# List prices of that model, per million tokens: its rows in US dollars in
# `lowproxy/data/catalogue.toml`. Each place draws one.
PRICES = (
    (0.10, 0.32),  # deepinfra
    (0.10, 0.32),  # openrouter
    (0.13, 0.40),  # nebius
    (0.59, 0.79),  # groq
    (0.59, 0.79),  # huggingface
    (0.88, 0.88),  # together
)
# Region, and the coordinates of a city with data centres.
PLACES: dict[str, tuple[str, float, float]] = {
    "DE": ("eu-central", 50.1, 8.7),
    "FR": ("eu-west", 48.9, 2.4),
    "GB": ("uk", 51.5, -0.1),
    "SE": ("eu-north", 59.3, 18.1),
    "US-CAL-CISO": ("us-west", 37.3, -121.9),
    "US-MIDA-PJM": ("us-east", 39.0, -77.5),
    "US-NE-ISNE": ("us-east", 42.4, -71.1),
    "US-NW-BPAT": ("us-west", 47.2, -119.9),
    "US-NY-NYIS": ("us-east", 40.7, -74.0),
    "US-TEX-ERCO": ("us-central", 32.8, -96.8),
}
# Light in glass takes 5 us a kilometre, cables are half as long again as the way is, and an answer comes back.
_RTT_S_PER_KM = 5e-6 * 1.5 * 2
# Seconds to a first byte beside the way: drawn per place; more with a long prompt and under load.
_TTFT_S = (0.20, 0.60)
_PREFILL_S_PER_TOKEN = 1e-4
_LOAD = 0.5  # at the busiest hour half as much again
_SPREAD = 0.4  # of a lognormal
_TOKENS_PER_S = (40.0, 120.0)
# Twice a week each place is out, for half an hour in the mean; one request in 200 fails by itself.
_OUTAGES, _OUTAGE_S, _FAILS = 2.0, 1800.0, 0.005
_FAILS_AFTER_S = 0.3
GIVES_UP_AFTER_S = 1.0  # on a place that is out


class Place(NamedTuple):
    """What the simulation knows of an endpoint, and the gateway does not."""

    zone: str
    rtt_s: float
    ttft_s: float
    tokens_per_s: float
    outages: tuple[tuple[float, float], ...]  # begin and end

    def is_out(self, now: float) -> bool:
        """Whether nothing answers there now."""
        return any(begin <= now < end for begin, end in self.outages)


class Asked(NamedTuple):
    """One request: when, and how many tokens each way."""

    at: float
    prompt: int
    answer: int


class Tried(NamedTuple):
    """One attempt: whether it was answered, seconds to the first byte (or to the failure) and to the end."""

    is_answered: bool
    first_s: float
    whole_s: float


@attrs.frozen
class World:
    """A week: who can be asked, what is asked, and the grids hour by hour."""

    catalogue: Catalogue
    places: dict[str, Place]  # by endpoint id
    requests: tuple[Asked, ...]
    grids: dict[str, list[float]]
    load: list[float]  # hourly, 1 at the busiest
    seed: int

    def readings(self, hour: int) -> dict[str, CarbonIntensity]:
        """Live readings of the zones at an hour."""
        return {
            zone: CarbonIntensity(
                zone, hourly[hour], hourly[hour], hourly[hour], "sim", "sim", live=True
            )
            for zone, hourly in self.grids.items()
        }

    def attempt(self, n: int, candidate: Candidate, asked: Asked, now: float) -> Tried:
        """What becomes of request `n` at a candidate: the same whichever strategy asks."""
        place = self.places[candidate.endpoint.id]
        if place.is_out(now):
            return Tried(False, GIVES_UP_AFTER_S, GIVES_UP_AFTER_S)
        draw = Random(f"{self.seed} {n} {place.zone}")
        if draw.random() < _FAILS:
            return Tried(False, _FAILS_AFTER_S, _FAILS_AFTER_S)
        busy = 1 + _LOAD * self.load[min(int(now // HOUR_S), len(self.load) - 1)]
        wait_s = place.ttft_s * busy + asked.prompt * _PREFILL_S_PER_TOKEN
        first_s = place.rtt_s + wait_s * draw.lognormvariate(0, _SPREAD)
        return Tried(True, first_s, first_s + asked.answer / place.tokens_per_s)


def published() -> tuple[dict[str, Any], dict[str, Any]]:
    """The two files of figures: grids, requests."""
    grid, requests = (
        json.loads((HERE / name).read_text()) for name in ("grid.json", "requests.json")
    )
    return grid, requests


def make_world(
    seed: int, count: int, week: str = "may", zones: tuple[str, ...] = tuple(PLACES)
) -> World:
    """About `count` requests over a week, at one endpoint in each of `zones`."""
    grid, shape = published()
    draw = Random(f"{seed} world")
    prices = {zone: draw.choice(PRICES) for zone in PLACES}
    made = {zone: _place(zone, draw) for zone in PLACES}
    providers = {zone: Provider(f"p-{zone.lower()}") for zone in zones}
    endpoints = tuple(
        Endpoint(zone.lower(), providers[zone], PLACES[zone][0], "http://sim", zone)
        for zone in zones
    )
    models = tuple(
        Model(
            MODEL,
            providers[zone].id,
            MODEL,
            price_prompt=prices[zone][0],
            price_completion=prices[zone][1],
        )
        for zone in zones
    )
    rates = shape["per_minute"]
    return World(
        Catalogue(tuple(providers.values()), endpoints, models),
        {zone.lower(): made[zone] for zone in zones},
        tuple(_requests(seed, count, rates, shape["tokens"])),
        {zone: grid["weeks"][week][zone] for zone in zones},
        [each / max(rates) for each in rates],
        seed,
    )


def chat(asked: Asked, body: ChatRequest) -> ChatRequest:
    """`body` with a prompt of that length."""
    return attrs.evolve(body, prompt_bytes=4 * asked.prompt)


def _place(zone: str, draw: Random) -> Place:
    _, latitude, longitude = PLACES[zone]
    outages = []
    at = draw.expovariate(_OUTAGES / WEEK_S)
    while at < WEEK_S:
        end = at + draw.expovariate(1 / _OUTAGE_S)
        outages.append((at, end))
        at = end + draw.expovariate(_OUTAGES / WEEK_S)
    rtt_s = _km(CALLERS, (latitude, longitude)) * _RTT_S_PER_KM
    low, high = _TOKENS_PER_S
    return Place(
        zone,
        rtt_s,
        draw.uniform(*_TTFT_S),
        exp(draw.uniform(log(low), log(high))),
        tuple(outages),
    )


def _km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Along a great circle."""
    (a, b), (c, d) = (tuple(map(radians, each)) for each in (one, other))
    along = sin(a) * sin(c) + cos(a) * cos(c) * cos(b - d)
    return 6371 * acos(min(1.0, along))


def _requests(
    seed: int, count: int, rates: list[float], tokens: list[list[int]]
) -> list[Asked]:
    draw = Random(f"{seed} requests")
    ends = list(accumulate(rates))
    times = []
    for _ in range(count):
        at = draw.random() * ends[-1]
        hour = bisect_right(ends, at)
        begin = ends[hour - 1] if hour else 0.0
        times.append((hour + (at - begin) / rates[hour]) * HOUR_S)
    return [Asked(at, *draw.choice(tokens)) for at in sorted(times)]
