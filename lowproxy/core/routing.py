"""Which candidates serve a request, in which order, and why: one synchronous function of values."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import attrs

from lowproxy.core.access import ApiKey
from lowproxy.core.affinity import Stay
from lowproxy.core.aliases import resolved
from lowproxy.core.chat import ChatRequest
from lowproxy.core.ordering import ordered
from lowproxy.core.preferences import NO_WISHES, Preferences
from lowproxy.core.refusal import nothing_eligible
from lowproxy.core.rules import BYTES_PER_TOKEN, World, checks
from lowproxy.core.score import (
    Size,
    exact_size,
    rough_size,
    rounded,
    scale_of,
)
from lowproxy.core.upstreams import (
    PSEUDO_MODELS,
    Candidate,
    Pool,
)
from lowproxy.errors import LowproxyError, UnknownModelError


class Rejection(NamedTuple):
    """Why one candidate may not serve."""

    candidate: str
    rule: str
    reason: str


@attrs.frozen(slots=False)
class RouteDecision:
    """Candidates, best first; what was rejected; what the order went by."""

    candidates: tuple[Candidate, ...]
    _rejections: tuple[Rejection, ...] | None = None
    ordered_by: str = "carbon"
    world: World | None = attrs.field(default=None, repr=False, eq=False)
    models: tuple[str, ...] = ()  # ids of what was asked for
    ties: int = 1  # among how many equals the first was drawn
    stayed: bool = False  # the first is where the conversation was

    @property
    def chosen(self) -> Candidate:
        """The first to be tried."""
        return self.candidates[0]

    def find(self, candidate_id: str) -> Candidate:
        """The candidate of that id, which is among them."""
        return next(c for c in self.candidates if c.id == candidate_id)

    @cached_property
    def told(self) -> dict[str, Any]:
        """What `routing_trace` has worked out of it: many requests share a decision."""
        return {}

    @cached_property
    def mark(self) -> object:
        """Tells it from all others, also from those that come to have its id; holds nothing of it."""
        return object()

    @cached_property
    def bounds(self) -> dict[Any, Any]:
        """The most that requests of some size may take of its candidates.

        With the decision, and for as long as it lives: until readings change.
        """
        return {}

    @cached_property
    def rejections(self) -> tuple[Rejection, ...]:
        """Those that may not serve, with the first rule that says so: worked out when asked for."""
        if self._rejections is not None or self.world is None:
            return self._rejections or ()
        return tuple(
            rejection
            for asked in self.models
            for rejection in _rejected(asked, self.world)
        )


class Memo:
    """Recent decisions about one pool: callers ask the same again and again.

    A decision depends on the pool, the names asked for, the key, the preferences, the capabilities needed
    and the size in rounded tokens; and on readings that change by the second, which it is kept with.
    """

    MOST = 1024

    def __init__(self) -> None:
        self._known: dict[_Asked | None, _Kept] = {}

    def recall(
        self,
        chat: ChatRequest,
        key: ApiKey,
        pool: Pool,
        resting: frozenset[str],
        latencies: Mapping[str, float],
        carbon_price: float = 0.0,
        stay: Stay | None = None,
    ) -> "tuple[RouteDecision, ...] | None":
        """What `decide` decided of the same, one for each draw among equals; None: it has to be asked."""
        kept = self._known.get(_asked(chat, key, pool, stay))
        if kept is None:
            return None
        of, rested, measured, price, draws = kept
        # Readings are the same values for as long as they hold: to be different is rare.
        if (
            measured is latencies
            and price == carbon_price
            and (rested is resting or rested == resting)
            and (of is key or of == key)
        ):
            return draws
        return None

    def keep(self, asked: "_Asked", kept: "_Kept") -> None:
        """Remembers a decision, one for each draw among equals."""
        if len(self._known) >= self.MOST:
            self._known.clear()
        self._known[asked] = kept


# Streams and whole answers are measured apart, so each has latencies of its own. A key goes by its name, and
# no wishes by None: their hashes would cost more than the look-up.
_Asked = tuple[
    tuple[str, ...],
    str,
    Preferences | None,
    frozenset[str],
    Size,
    bool,
    Stay | None,
]
_Kept = tuple[
    ApiKey, frozenset[str], Mapping[str, float], float, tuple[RouteDecision, ...]
]


_new: Any = tuple.__new__
_NOBODY: frozenset[str] = frozenset()
_UNMEASURED: Mapping[str, float] = {}


def decide(
    chat: ChatRequest,
    key: ApiKey,
    pool: Pool,
    resting: frozenset[str] = _NOBODY,
    pick: Callable[[int], int] = lambda n: 0,
    memo: Memo | None = None,
    *,
    latencies: Mapping[str, float] = _UNMEASURED,
    carbon_price: float = 0.0,
    stay: Stay | None = None,
) -> RouteDecision:
    """The decision for one request.

    `resting` holds the ids of candidates that have been failing: they come last. `pick(n)` chooses among n
    equals (its owner makes it sticky for a user or random); `memo` belongs to the pool. `latencies` are
    medians to the first byte in seconds by candidate id, of those that were measured. `carbon_price` is
    money per gram of CO2 equivalent, in the currency of the prices: it is added to each expected price, so
    that a carbon budget which runs short steers, and excludes nobody. `stay` is where the conversation was.
    Raises PermissionDeniedError (the key), UnknownModelError, NothingEligibleError; the latter two carry the
    decision that was none, for the trace.
    """
    if memo is not None:
        draws = memo.recall(chat, key, pool, resting, latencies, carbon_price, stay)
        if draws is not None:
            return draws[pick(len(draws))] if len(draws) > 1 else draws[0]
    wishes = chat.preferences
    exact = exact_size(chat)
    size = rounded(exact)
    if stay is not None:
        stay = Stay(stay.candidate, rounded((stay.tokens, None))[0])
    models = resolved(chat.models, key, pool)
    prefers = wishes.prefer_low_carbon
    if prefers is None:
        prefers = key.prefer_low_carbon
    scale = scale_of(models[0], wishes.sort, prefers, pool.policy)
    # As `World(...)`, which would be a call more for every request.
    world: World = _new(
        World,
        (
            pool,
            key,
            wishes,
            chat.needs,
            chat.prompt_bytes,
            exact[0],
            exact[1],
            size,
            scale,
            resting,
            latencies,
            carbon_price,
        ),
    )
    eligible, ties, stayed = _eligible(models, world, stay)
    if not eligible:
        raise _nothing(models, world)
    asked = _asked(chat, key, pool, stay) if memo is not None else None
    if asked is not None and memo is not None:
        draws = tuple(
            [_settled(models, eligible, world, n, ties, stayed) for n in range(ties)]
        )
        memo.keep(asked, (key, resting, latencies, carbon_price, draws))
        return draws[pick(ties)] if ties > 1 else draws[0]
    drawn = pick(ties) if ties > 1 else 0
    return _settled(models, eligible, world, drawn, ties, stayed)


def offers(asked: str, pool: Pool) -> tuple[Candidate, ...]:
    """Who serves a model id, or what a pseudo-model may pick from. Raises UnknownModelError."""
    if asked in PSEUDO_MODELS:
        return pool.auto_offers
    offered = pool.by_model.get(asked)
    if offered is None:
        raise UnknownModelError(
            f"the model {asked[:100]!r} is not known here; GET /api/v1/models lists those that are",
            param="model",
        )
    return offered


def _asked(
    chat: ChatRequest, key: ApiKey, pool: Pool, stay: Stay | None
) -> _Asked | None:
    """What a decision is remembered by; None where that would serve nobody else, or not be bounded."""
    wishes, models = None, chat.models
    if chat.preferences is not NO_WISHES or len(models) > 1:
        wishes = chat.preferences
        if not _is_worth_keeping(wishes, models):
            return None
    least = pool.least_context
    if (
        least is not None
        and chat.prompt_bytes // BYTES_PER_TOKEN > least
        and any(model in PSEUDO_MODELS for model in models)
    ):
        return None
    if stay is not None:
        stay = Stay(stay.candidate, rounded((stay.tokens, None))[0])
    size = rough_size(chat)
    return models, key.name, wishes, chat.needs, size, chat.stream, stay


def _is_worth_keeping(wishes: Preferences, models: Sequence[str]) -> bool:
    if wishes.max_carbon_g is not None or len(models) > 4:
        return False  # the former goes by the exact size
    return not (wishes.order or wishes.only or wishes.ignore)


def _eligible(
    models: Sequence[str], world: World, stay: Stay | None
) -> tuple[list[Candidate], int, bool]:
    """Those that may serve any of the models, best first, nobody twice.

    With how many tie for the best, and whether the first is where the conversation was.
    """
    eligible: list[Candidate] = []
    wishes, permit = world.wishes, world.key.permit
    ties, stayed = 1, False
    for asked in models:
        permit(asked, wishes.region, wishes.provider)
        accepted = accepted_of(asked, world)
        if not accepted:
            continue
        found = ordered(accepted, world, stay)
        if not eligible:
            eligible, ties, stayed = found
        else:
            known = {c.id for c in eligible}
            eligible += [c for c in found[0] if c.id not in known]
    return eligible, ties, stayed


def accepted_of(asked: str, world: World) -> Sequence[Candidate]:
    """Who may serve a model id, in the pool's order."""
    accepted: Sequence[Candidate] = offers(asked, world.pool)
    for _, check in checks(asked, world):
        accepted = [c for c in accepted if check(c) is None]
    return accepted


def _settled(
    models: tuple[str, ...],
    eligible: list[Candidate],
    world: World,
    drawn: int,
    ties: int,
    stayed: bool = False,
) -> RouteDecision:
    """The decision for one draw: who is tried, in which order."""
    wishes, resting = world.wishes, world.resting
    if drawn:
        eligible = [eligible[drawn], *eligible[:drawn], *eligible[drawn + 1 :]]
    if resting:
        # Also across models: nobody waits for them while another can serve.
        eligible = sorted(eligible, key=lambda c: c.id in resting)
    if not wishes.allow_fallbacks:
        eligible = eligible[:1]
    elif (
        wishes.region is None
        and wishes.zone is None
        and world.key.region is None
        and len(world.pool.places) > 1
    ):
        eligible = _same_region_first(eligible, resting, other=wishes.fallback)
    candidates, leading = tuple(eligible), world.scale.leading
    return RouteDecision(candidates, None, leading, world, models, ties, stayed)


def _same_region_first(
    eligible: list[Candidate], resting: frozenset[str], *, other: bool
) -> list[Candidate]:
    home = eligible[0].region
    near = [c for c in eligible if c.region == home]
    if not other or len(near) == len(eligible):
        return near
    if resting:
        return sorted(eligible, key=lambda c: (c.id in resting, c.region != home))
    return near + [c for c in eligible if c.region != home]


def _rejected(asked: str, world: World) -> list[Rejection]:
    """Who is offered and may not serve."""
    rules = checks(asked, world)
    found = []
    for candidate in offers(asked, world.pool):
        for name, check in rules:
            reason = check(candidate)
            if reason is not None:
                found.append(Rejection(candidate.id, name, reason))
                break
    return found


def _nothing(models: tuple[str, ...], world: World) -> LowproxyError:
    decision = RouteDecision((), None, world.scale.leading, world, models)
    failure = nothing_eligible(
        models[0], world.key, world.wishes, world.pool, decision.rejections
    )
    failure.decision = decision
    return failure
