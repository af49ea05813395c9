"""The order of those who may serve: what comes before the score, the score, and who ties for the best."""

from collections.abc import Sequence

from lowproxy.core.affinity import Stay, stays
from lowproxy.core.rules import World
from lowproxy.core.score import TIE, scores, waits_s
from lowproxy.core.upstreams import NO_GRAMS, NO_PRICE, Candidate

_NOBODY: frozenset[str] = frozenset()


def ordered(
    accepted: Sequence[Candidate], world: World, stay: Stay | None
) -> tuple[list[Candidate], int, bool]:
    """Best first; how many tie for the best; whether the first is where the conversation was."""
    count = len(accepted)
    if count == 1:
        return list(accepted), 1, False
    weights, carbon_price = world.scale.weights, world.carbon_price
    found = scores(accepted, world.size, weights, world.latencies, carbon_price)
    gap = world.pool.gaps and _GAP.get(world.scale.leading, 0)
    unknown = any(c.gaps & gap for c in accepted) if gap else False
    classes = _classes(accepted, world) if unknown or _is_steered(world) else None
    if classes is None:
        order = sorted(range(count), key=found.__getitem__)
    else:
        order = sorted(range(count), key=lambda n: (classes[n], found[n]))
    first, ties = order[0], 1
    near = found[first] * (1 + TIE)
    while ties < count and found[order[ties]] <= near:
        if classes is not None and classes[order[ties]] != classes[first]:
            break
        ties += 1
    ranked = [accepted[n] for n in order]
    if stay is None:
        return ranked, ties, False
    for n in order:
        if classes is not None and classes[n] != classes[first]:
            break
        old, pair = accepted[n], (found[n], found[first])
        if old.id == stay.candidate:
            if not stays(stay, old, pair, world.size, weights, carbon_price):
                break
            ranked.remove(old)
            return [old, *ranked], 1, True
    return ranked, ties, False


_GAP = {"carbon": NO_GRAMS, "price": NO_PRICE}
_Class = tuple[bool, int, bool, float, bool]


def _is_steered(world: World) -> bool:
    """Whether anything but the score orders the candidates: in most decisions nothing does."""
    wishes = world.wishes
    return bool(
        world.resting
        or world.scale.sort
        or wishes.order
        or wishes.max_latency_s is not None
    )


def _classes(accepted: Sequence[Candidate], world: World) -> list[_Class]:
    """What comes before the score, least first.

    Healthy before resting, the caller's order of providers, those within the preferred latency, the term
    to sort by (within one percent of the best is as good), those who know the term that weighs most.
    """
    wishes, resting = world.wishes, world.resting
    gap = _GAP.get(world.scale.leading, 0)
    order = wishes.order
    places = {name: place for place, name in reversed(list(enumerate(order)))}
    slow = _too_slow(accepted, world)
    values = sort_values(accepted, world)
    best = min(values, default=0.0)
    as_good = best + TIE * abs(best)
    return [
        (
            c.id in resting,
            places.get(c.endpoint.provider.id, len(order)),
            c.id in slow,
            max(values[n], as_good) if values else 0.0,
            bool(c.gaps & gap),
        )
        for n, c in enumerate(accepted)
    ]


def sort_values(accepted: Sequence[Candidate], world: World) -> list[float]:
    """What `provider.sort` compares, the least the best, unknown last; empty without it."""
    sort = world.scale.sort
    if sort is None:
        return []
    worst = float("inf")
    if sort == "latency":
        known = [world.latencies.get(c.id) for c in accepted]
    elif sort == "throughput":
        known = [None if not c.tokens_per_s else -c.tokens_per_s for c in accepted]
    else:
        prompt, answer = world.size
        known = [
            c.prices.of(prompt, c.model.answer_tokens if answer is None else answer)
            if c.prices
            else None
            for c in accepted
        ]
    return [worst if each is None else each for each in known]


def _too_slow(accepted: Sequence[Candidate], world: World) -> frozenset[str]:
    """Those whose expected first byte is later than `provider.preferred_max_latency`."""
    most_s = world.wishes.max_latency_s
    if most_s is None:
        return _NOBODY
    waits = waits_s(accepted, world.latencies)
    return frozenset(
        [c.id for c, wait in zip(accepted, waits, strict=False) if wait > most_s]
    )
