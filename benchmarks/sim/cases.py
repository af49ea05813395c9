"""What is played: strategies side by side, other sets of places, other weights, budgets."""

from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any

from benchmarks.sim.play import (
    Gateway,
    Outcome,
    Strategy,
    body,
    decided,
    fastest,
    nearest,
    play,
    round_robin,
)
from benchmarks.sim.world import PLACES, World, make_world
from lowproxy.core.carbon_budget import CarbonBudget
from lowproxy.core.chat import ChatRequest
from lowproxy.core.policy import Policy, Scale

STANDARD = ',"route":{"prefer_low_carbon":false}'
# By name: what is asked, and who answers.
STRATEGIES: dict[str, tuple[ChatRequest, Callable[[World], Strategy]]] = {
    "auto": (body(), lambda world: decided),
    "auto, low carbon not preferred": (body(extra=STANDARD), lambda world: decided),
    "auto-cheap": (body("lowrouter/auto-cheap"), lambda world: decided),
    "cheapest": (body(extra=',"provider":{"sort":"price"}'), lambda world: decided),
    "fastest (an oracle)": (body(), fastest),
    "round robin": (body(), lambda world: round_robin),
    "fixed: the nearest": (body(), nearest),
}
DIRTIER = tuple(zone for zone in PLACES if zone not in ("SE", "FR", "US-NW-BPAT"))
SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ten zones, May": ("may", tuple(PLACES)),
    "ten zones, November": ("november", tuple(PLACES)),
    "Europe's four": ("may", ("DE", "FR", "GB", "SE")),
    "without SE, FR, BPAT": ("may", DIRTIER),
    "without SE, FR, BPAT, November": ("november", DIRTIER),
}
SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
BUDGETS = (0.95, 0.9, 0.85, 0.75)  # of the worst day without one


def summed_up(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The mean of several weeks, per 1000 requests where that makes sense."""
    answered = [len(each.whole_s) for each in outcomes]
    return {
        "g_per_1000": _mean(
            1000 * o.grams / n for o, n in zip(outcomes, answered, strict=True)
        ),
        "usd_per_1000": _mean(
            1000 * o.cost / n for o, n in zip(outcomes, answered, strict=True)
        ),
        "first_p95_s": _mean(_p95(each.first_s) for each in outcomes),
        "whole_p95_s": _mean(_p95(each.whole_s) for each in outcomes),
        "failed": sum(each.failed for each in outcomes),
        "requests": sum(each.requests for each in outcomes),
        "attempts": sum(each.attempts for each in outcomes),
        "places": _shares(outcomes),
    }


def side_by_side(count: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Every strategy in the same weeks."""
    worlds = [make_world(seed, count) for seed in seeds]
    return {
        name: summed_up([play(world, make(world), asks) for world in worlds])
        for name, (asks, make) in STRATEGIES.items()
    }


def other_places(count: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Fewer places and another season; and `auto` that knows each zone's mean but not the hour."""
    found: dict[str, Any] = {}
    for name, (week, zones) in SETS.items():
        worlds = [make_world(seed, count, week, zones) for seed in seeds]
        rows = found[name] = {}
        for strategy in ("auto", "cheapest", "round robin"):
            asks, make = STRATEGIES[strategy]
            rows[strategy] = summed_up(
                [play(world, make(world), asks) for world in worlds]
            )
        blind = [
            play(world, decided, body(), Gateway.make(sees_the_hour=False))
            for world in worlds
        ]
        rows["auto by the week's means"] = summed_up(blind)
    return found


def other_weights(count: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The share of carbon from none to all; the rest is halved between latency and price."""
    rows = []
    for zones in (tuple(PLACES), DIRTIER):
        worlds = [make_world(seed, count, zones=zones) for seed in seeds]
        for share in SHARES:
            rest = (1 - share) / 2
            policy = Policy(low_carbon=Scale.of("low_carbon", share, rest, rest))
            played = [
                play(world, decided, body(), Gateway.make(policy)) for world in worlds
            ]
            rows.append({"zones": len(zones), "carbon": share, **summed_up(played)})
    return rows


def with_budgets(count: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """A soft budget over requests that do not prefer low carbon: the price of a gram has to do it."""
    asks = body(extra=STANDARD)
    worlds = [make_world(seed, count, zones=DIRTIER) for seed in seeds]
    free = [play(world, decided, asks) for world in worlds]
    rows = [{"budget": None, "over_worst_day": None, **summed_up(free)}]
    for part in BUDGETS:
        played = []
        for world, taken in zip(worlds, free, strict=True):
            limit_g = part * max(taken.daily_g)
            played.append((limit_g, _held_to(world, asks, limit_g)))
        most = max(outcome.most_in_a_day_g / limit for limit, outcome in played)
        told = summed_up([outcome for _, outcome in played])
        rows.append({"budget": part, "over_worst_day": _round(most), **told})
    return rows


def _held_to(world: World, asks: ChatRequest, limit_g: float) -> Outcome:
    return play(world, decided, asks, budget=CarbonBudget(limit_g, 0.0))


def _shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    total = sum(len(each.whole_s) for each in outcomes)
    zones = {zone for each in outcomes for zone in each.places}
    shares = {
        zone: sum(each.places.get(zone, 0) for each in outcomes) / total
        for zone in zones
    }
    return {
        zone: _round(share)
        for zone, share in sorted(shares.items(), key=lambda item: -item[1])
    }


def _p95(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)]


def _mean(values: Iterator[float]) -> float:
    return _round(mean(values))


def _round(value: float) -> float:
    return float(f"{value:.4g}")
