"""Plays a week with one strategy: whom it asks for each request, and what that took.

`auto`, `auto-cheap` and `cheapest` are decisions of the gateway's own code (`lowproxy.core.routing`, with the
health machine of `lowproxy.core.health`); the others order the same candidates otherwise, go by the same health
and fail over alike.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

import attrs

from benchmarks.sim.world import HOUR_S, MODEL, Asked, World, chat
from lowproxy.catalogue import build_pool
from lowproxy.config import Config
from lowproxy.core.access import ApiKey
from lowproxy.core.carbon_budget import CarbonBudget
from lowproxy.core.chat import ChatRequest
from lowproxy.core.health import Health
from lowproxy.core.policy import Policy
from lowproxy.core.routing import Memo, decide
from lowproxy.core.upstreams import Candidate, Pool
from lowproxy.core.usage import Usage
from lowproxy.errors import NothingEligibleError
from lowproxy.server.making import make_scales
from lowproxy.server.scales import Scales

KEY = ApiKey(name="sim", hash="")
MOST_ATTEMPTS = 6
_BODY = b'{"model":"%b","messages":[{"content":"?"}],"stream":true%b}'


class Now(NamedTuple):
    """What a strategy may look at."""

    pool: Pool
    health: Health
    memo: Memo
    at: float
    number: int
    carbon_price: float


# Candidates, best first.
Strategy = Callable[[ChatRequest, Now], tuple[Candidate, ...]]


@attrs.define
class Outcome:
    """What a week took with one strategy."""

    requests: int = 0
    failed: int = 0  # nobody answered
    attempts: int = 0
    grams: float = 0.0
    cost: float = 0.0
    first_s: list[float] = attrs.field(factory=list)
    whole_s: list[float] = attrs.field(factory=list)
    places: dict[str, int] = attrs.field(factory=dict)
    daily_g: list[float] = attrs.field(factory=lambda: [0.0] * 7)
    most_in_a_day_g: float = 0.0  # in any 24 hours, where there is a budget


@attrs.frozen
class Gateway:
    """The parts that a strategy and the weighing share."""

    scales: Scales
    policy: Policy
    sees_the_hour: bool = True  # else routing goes by the week's mean

    @classmethod
    def make(
        cls, policy: Policy | None = None, *, sees_the_hour: bool = True
    ) -> "Gateway":
        """As the program makes it with nothing configured."""
        return cls(make_scales(Config()), policy or Policy(), sees_the_hour)


def body(model: str = "lowrouter/auto", extra: str = "") -> ChatRequest:
    """A request's body, parsed; `extra` is more members of it."""
    return ChatRequest.parse(_BODY % (model.encode(), extra.encode()))


def play(
    world: World,
    strategy: Strategy,
    asks: ChatRequest,
    gateway: Gateway | None = None,
    budget: CarbonBudget | None = None,
) -> Outcome:
    """The whole week."""
    gateway = gateway or Gateway.make()
    health, pools = Health(), _hours(world, gateway)
    outcome = Outcome()
    hour, pool, memo = -1, Pool({}), Memo()
    for n, asked in enumerate(world.requests):
        now = asked.at
        while hour < int(now // HOUR_S):
            hour, pool, memo = hour + 1, next(pools), Memo()
        price = budget.price(now) if budget else 0.0
        seen = Now(pool, health, memo, now, n, price)
        try:
            candidates = strategy(chat(asked, asks), seen)
        except NothingEligibleError:
            candidates = ()
        grams = _ask(world, gateway.scales, health, candidates, n, asked, outcome)
        if budget:
            budget.observe(grams, now)
            most = max(outcome.most_in_a_day_g, budget.spent_g(now))
            outcome.most_in_a_day_g = most
    return outcome


def _hours(world: World, gateway: Gateway) -> Iterator[Pool]:
    """The pool of each hour; the scales weigh by that hour's grid, whatever routing goes by."""
    hours = len(next(iter(world.grids.values())))
    means = {
        zone: [sum(hourly) / hours] * hours for zone, hourly in world.grids.items()
    }
    flat = attrs.evolve(world, grids=means)
    for hour in range(hours):
        seen = world if gateway.sees_the_hour else flat
        gateway.scales.use(seen.readings(hour))
        pool = build_pool(world.catalogue, gateway.scales.typical, (MODEL,))
        if not gateway.sees_the_hour:
            gateway.scales.use(world.readings(hour))
        yield attrs.evolve(pool, policy=gateway.policy)


def _ask(
    world: World,
    scales: Scales,
    health: Health,
    candidates: tuple[Candidate, ...],
    n: int,
    asked: Asked,
    outcome: Outcome,
) -> float:
    """One candidate after the other, as dispatch does: who rests is asked last, if at all."""
    now = asked.at
    outcome.requests += 1
    tries = 0
    for candidate in _admitted(candidates, health, now):
        if tries >= MOST_ATTEMPTS:
            break
        tries += 1
        outcome.attempts += 1
        tried = world.attempt(n, candidate, asked, now)
        ended = now + tried.first_s
        if not tried.is_answered:
            health.failed(candidate.id, now, ended)
            now = ended
            continue
        health.streaming(candidate.id, None, now, ended)
        health.ended(candidate.id, now, now + tried.whole_s)
        outcome.first_s.append(ended - asked.at)
        outcome.whole_s.append(now + tried.whole_s - asked.at)
        return _count(scales, candidate, asked, outcome)
    outcome.failed += 1
    return 0.0


def _admitted(
    candidates: tuple[Candidate, ...], health: Health, now: float
) -> Iterator[Candidate]:
    later = []
    for candidate in candidates:
        if health.admits(candidate, now):
            yield candidate
        else:
            later.append(candidate)
    for candidate in later:
        if health.admits_last(candidate, now):
            yield candidate


def _count(
    scales: Scales, candidate: Candidate, asked: Asked, outcome: Outcome
) -> float:
    impact = scales.weigh(candidate, Usage(asked.prompt, asked.answer))
    assert impact is not None, "the model's size is known"
    model = candidate.model
    prompt, completion = model.price_prompt or 0.0, model.price_completion or 0.0
    outcome.cost += (asked.prompt * prompt + asked.answer * completion) / 1e6
    outcome.grams += impact.carbon_g
    day = min(int(asked.at // (24 * HOUR_S)), 6)
    outcome.daily_g[day] += impact.carbon_g
    zone = str(candidate.endpoint.zone)
    outcome.places[zone] = outcome.places.get(zone, 0) + 1
    return impact.carbon_g


# --- strategies ----------------------------------------------------------------------------


def decided(asks: ChatRequest, now: Now) -> tuple[Candidate, ...]:
    """The gateway's decision for what is asked."""
    draw = Random(now.number)
    decision = decide(
        asks,
        KEY,
        now.pool,
        now.health.resting(now.at),
        draw.randrange,
        now.memo,
        latencies=now.health.latencies(now.at),
        carbon_price=now.carbon_price,
    )
    return decision.candidates


def round_robin(asks: ChatRequest, now: Now) -> tuple[Candidate, ...]:
    """Each place in turn, and its neighbours in the list where it fails."""
    offers = now.pool.by_model[MODEL]
    first = now.number % len(offers)
    return offers[first:] + offers[:first]


def fastest(world: World) -> Strategy:
    """An oracle: by the true median to the end of a typical answer, which no gateway knows."""
    typical = 200

    def order(candidate: Candidate) -> float:
        place = world.places[candidate.endpoint.id]
        return place.rtt_s + place.ttft_s + typical / place.tokens_per_s

    def strategy(asks: ChatRequest, now: Now) -> tuple[Candidate, ...]:
        return tuple(sorted(now.pool.by_model[MODEL], key=order))

    return strategy


def nearest(world: World) -> Strategy:
    """One place only, the one next to the callers: what a fixed base URL does."""

    def strategy(asks: ChatRequest, now: Now) -> tuple[Candidate, ...]:
        offers = now.pool.by_model[MODEL]
        return (min(offers, key=lambda c: world.places[c.endpoint.id].rtt_s),)

    return strategy
