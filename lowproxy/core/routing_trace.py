"""A decision told in full: who could serve and what each was expected to take, who could not and why.

Nothing here is on the way of a request that does not ask for it: a decision keeps what it was made from, and
all else is worked out when a trace is wanted.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from lowproxy.core.eco_block import six
from lowproxy.core.ordering import ordered
from lowproxy.core.policy import Scale, Weights
from lowproxy.core.routing import Rejection, RouteDecision, accepted_of
from lowproxy.core.rules import World
from lowproxy.core.score import TIE, Terms, ranked_g, scores, terms_of
from lowproxy.core.upstreams import Candidate

# Of a pool of hundreds nobody reads more; how many are left out is told.
MOST = 50
# What a gateway without carbon would go by: the expected price, and then the pool's own order.
_BY_PRICE = Scale("default", Weights(0.0, 0.0, 1.0), "price")

Attempted = tuple[str, str, float]  # candidate, outcome, seconds


class Tried(Protocol):
    """One attempt of a request."""

    @property
    def candidate(self) -> str:
        """Its id."""

    @property
    def outcome(self) -> str:
        """`ok`, or what went wrong."""

    @property
    def duration_s(self) -> float:
        """How long it took."""


class Routed(NamedTuple):
    """How one request was routed; called, it tells its trace, which takes a while."""

    decision: RouteDecision
    attempts: Sequence[Tried]

    def __call__(self) -> dict[str, Any]:
        """As `trace`."""
        told = trace(self.decision)
        return told | self.own() if told else told

    def own(self) -> dict[str, Any]:
        """What is this request's alone: `attempts`, and `answered` where one has."""
        last = self.attempts[-1] if self.attempts else None
        used = last.candidate if last is not None and last.outcome == "ok" else None
        return _own(
            [(a.candidate, a.outcome, a.duration_s) for a in self.attempts], used
        )


class _Scored(NamedTuple):
    candidate: Candidate
    terms: Terms
    score: float


def trace(
    decision: RouteDecision, attempts: Iterable[Attempted] = (), used: str | None = None
) -> dict[str, Any]:
    """The `trace` object. `attempts` were made so far; `used` is the id of the candidate that answered.

    `default` is who would have been asked for the lowest expected price alone, under the same constraints
    and wishes; `saved_g` is how many grams less the choice is expected to take than that: negative where it
    takes more, absent where either is unknown.
    """
    if decision.world is None:
        return {}
    if not decision.told:
        decision.told.update(_told(decision, decision.world))
    return decision.told | _own(attempts, used)


def _own(attempts: Iterable[Attempted], used: str | None) -> dict[str, Any]:
    own: dict[str, Any] = {
        "attempts": [
            {"candidate": id_, "outcome": what, "duration_ms": round(took_s * 1000, 1)}
            for id_, what, took_s in attempts
        ]
    }
    return own if used is None else own | {"answered": used}


def told_of(decision: RouteDecision) -> dict[str, Any]:
    """What is the same for every request that shares the decision: `trace` without `attempts` and `answered`.

    For who asks once: it is not kept with the decision, where a large one takes some 30 kB.
    """
    if decision.told or decision.world is None:
        return decision.told
    return _told(decision, decision.world)


def _told(decision: RouteDecision, world: World) -> dict[str, Any]:
    scored = _scored(decision.models, world)
    rows = [scored[c.id] for c in decision.candidates]
    rejections = [*decision.rejections, *_cut(decision, scored, world)]
    told: dict[str, Any] = {
        "models": list(decision.models),
        "ordered_by": decision.ordered_by,
        "scale": _scale(world),
        "expected": _expected(world),
        "candidates": [_row(each, world) for each in rows[:MOST]],
        "rejected": [r._asdict() for r in rejections[:MOST]],
    }
    left_out = max(0, len(rows) - MOST) + max(0, len(rejections) - MOST)
    if left_out:
        told["left_out"] = left_out
    if rows:
        told.update(_choice(decision, scored, world))
    return told


def _scored(models: Sequence[str], world: World) -> dict[str, _Scored]:
    """Everybody who may serve, with terms and score, by id; the first model's come first."""
    found: dict[str, _Scored] = {}
    weights, size, latencies = world.scale.weights, world.size, world.latencies
    share = max(world.scale.shares)
    for asked in models:
        accepted = accepted_of(asked, world)
        if not accepted:
            continue
        products = scores(accepted, size, weights, latencies, world.carbon_price)
        for candidate, product in zip(accepted, products, strict=True):
            terms = terms_of(candidate, size, latencies)
            # The geometric mean itself: the product is a power of it.
            found.setdefault(candidate.id, _Scored(candidate, terms, product**share))
    return found


def _cut(
    decision: RouteDecision, scored: dict[str, _Scored], world: World
) -> list[Rejection]:
    """Those that might serve, had the request not wanted one region or one candidate only."""
    kept = {c.id for c in decision.candidates}
    if not kept:
        return []
    home = decision.chosen.region
    found = []
    for id_, (candidate, _, _) in scored.items():
        if id_ in kept:
            continue
        if not world.wishes.allow_fallbacks:
            why = "provider.allow_fallbacks", "not the best candidate"
        elif not world.wishes.fallback and candidate.region != home:
            why = "route.fallback", "another region than the best candidate's"
        else:
            why = "key.limits", "what it would take cannot be counted for this key"
        found.append(Rejection(id_, *why))
    return found


def _scale(world: World) -> dict[str, Any]:
    scale = world.scale
    told: dict[str, Any] = {"name": scale.name}
    told.update((k, round(v, 4)) for k, v in scale.shares._asdict().items())
    if scale.sort:
        told["sort"] = scale.sort
    if world.carbon_price:
        told["carbon_price_per_g"] = six(world.carbon_price)
    return told


def _expected(world: World) -> dict[str, Any]:
    prompt, answer = world.size
    return {
        "prompt_tokens": prompt,
        "completion_tokens": "usual for the model" if answer is None else answer,
    }


def _row(scored: _Scored, world: World) -> dict[str, Any]:
    candidate, terms, score = scored
    endpoint = candidate.endpoint
    row: dict[str, Any] = {
        "candidate": candidate.id,
        "model": candidate.model.id,
        "provider": endpoint.provider.id,
        "region": endpoint.region,
        "region_provenance": endpoint.provenance,
        "zone": candidate.zone,
        "carbon_g": _six(terms.carbon_g),
        "energy_wh": _six(terms.energy_wh),
        "latency_s": _six(terms.latency_s),
        "price": _six(terms.price),
        "currency": candidate.currency,
        "score": six(score),
    }
    if candidate.ranked is not candidate.grams:
        row["marginal_g"] = _six(ranked_g(candidate, world.size))
    if candidate.id in world.resting:
        row["resting"] = True
    return row


def _choice(
    decision: RouteDecision, scored: dict[str, _Scored], world: World
) -> dict[str, Any]:
    chosen = scored[decision.chosen.id]
    if decision.stayed:
        reason = "the conversation's prefix is cached there"
    elif len(scored) == 1:
        reason = "nobody else may serve"
    elif decision.ties > 1:
        reason = f"drawn among {decision.ties} whose scores are within {TIE:.0%}"
    else:
        reason = "the best of those that may serve"
    default = scored[_default(decision, world).id]
    told: dict[str, Any] = {
        "choice": _short(chosen) | {"reason": reason},
        "default": _short(default),
    }
    if chosen.terms.carbon_g is not None and default.terms.carbon_g is not None:
        told["saved_g"] = six(default.terms.carbon_g - chosen.terms.carbon_g)
    return told


def _default(decision: RouteDecision, world: World) -> Candidate:
    by_price = world._replace(scale=_BY_PRICE, carbon_price=0.0)
    for asked in decision.models:
        accepted = accepted_of(asked, world)
        if accepted:
            return ordered(accepted, by_price, None)[0][0]
    return decision.chosen


def _short(scored: _Scored) -> dict[str, Any]:
    return {
        "candidate": scored.candidate.id,
        "carbon_g": _six(scored.terms.carbon_g),
        "energy_wh": _six(scored.terms.energy_wh),
        "price": _six(scored.terms.price),
    }


def _six(value: float | None) -> float | None:
    return None if value is None else six(value)
