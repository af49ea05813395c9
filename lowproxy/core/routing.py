"""Which candidates serve a request, in which order, and why: one synchronous function of values."""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import NamedTuple

import attrs

from lowproxy.core.access import ApiKey
from lowproxy.core.aliases import resolved
from lowproxy.core.chat import ChatRequest
from lowproxy.core.preferences import Preferences
from lowproxy.core.rules import RULES, Question
from lowproxy.core.upstreams import PSEUDO_MODELS, Candidate, Pool, region_matches
from lowproxy.errors import (
    LowproxyError,
    NothingEligibleError,
    PermissionDeniedError,
    UnknownModelError,
)

# Within one percent two candidates are as good as each other.
TIE = 0.01

# Where only these speak against a candidate, the key is what is in the way: a 403.
_KEY_RULES = ("key.models", "key.providers")


class Rejection(NamedTuple):
    """Why one candidate may not serve."""

    candidate: str
    rule: str
    reason: str


@attrs.frozen(slots=False)
class RouteDecision:
    """Candidates, best first; what was rejected; what the order went by."""

    candidates: tuple[Candidate, ...]
    rejections: tuple[Rejection, ...]
    ordered_by: str

    @property
    def chosen(self) -> Candidate:
        """The first to be tried."""
        return self.candidates[0]

    def find(self, candidate_id: str) -> Candidate:
        """The candidate of that id, which is among them."""
        return next(c for c in self.candidates if c.id == candidate_id)


class Memo:
    """The eligible candidates of recent questions about one pool.

    Which candidates satisfy the constraints, and in which order, depends on nothing but the pool, the
    asked model, the key and the preferences; callers ask the same again and again.
    """

    _MOST = 1024

    def __init__(self) -> None:
        self._known: dict[_Asked, _Accepted] = {}

    def accept(self, question: Question, pool: Pool, scale: str) -> "_Accepted":
        """As `_accept`, from memory where the question allows it."""
        wishes = question.chat.preferences
        if question.is_pseudo or wishes.require_parameters:
            return _accept(question, pool, scale)  # the prompt's own needs matter
        if wishes.order or wishes.only or wishes.ignore or _is_long(wishes):
            return _accept(question, pool, scale)  # of any size: not worth keeping
        asked = (question.asked, question.key, wishes)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) >= self._MOST:
                self._known.clear()
            known = self._known[asked] = _accept(question, pool, scale)
        return known


def _is_long(wishes: Preferences) -> bool:
    return len(wishes.region or "") > 100 or len(wishes.provider or "") > 100


_Asked = tuple[str, ApiKey, Preferences]
# Those that may serve, best score first; how many of them tie for the best; the others.
_Accepted = tuple[list[Candidate], int, list[Rejection]]


def decide(
    chat: ChatRequest,
    key: ApiKey,
    pool: Pool,
    resting: frozenset[str] = frozenset(),
    pick: Callable[[int], int] = lambda n: 0,
    memo: Memo | None = None,
) -> RouteDecision:
    """The decision for one request.

    `resting` holds the ids of candidates that have been failing: they come last. `pick(n)` chooses among n
    equals (its owner makes it sticky for a user or random); `memo` belongs to the pool. Raises
    PermissionDeniedError (the key), UnknownModelError, NothingEligibleError.
    """
    wishes = chat.preferences
    eligible: list[Candidate] = []
    rejections: list[Rejection] = []
    models = resolved(chat.models, key, pool)
    for asked in models:
        key.permit(asked, wishes.region, wishes.provider)
        question = Question(chat, key, asked)
        scale = _scale(asked, chat, key)
        if memo is None:
            accepted, ties, rejected = _accept(question, pool, scale)
        else:
            accepted, ties, rejected = memo.accept(question, pool, scale)
        rejections += rejected
        ordered = list(accepted)
        if wishes.order or resting:
            ties = _by_class(ordered, scale, wishes.order, resting)
        if ties > 1:
            ordered.insert(0, ordered.pop(pick(ties)))
        if eligible:
            known = {c.id for c in eligible}
            ordered = [c for c in ordered if c.id not in known]
        eligible += ordered
    if not eligible:
        raise _nothing(chat, key, pool, rejections)
    if (
        resting
    ):  # also across models and regions: nobody waits for them while another can serve
        eligible.sort(key=lambda c: c.id in resting)
    if not wishes.allow_fallbacks:
        eligible = eligible[:1]
    elif wishes.region is None and key.region is None:
        eligible = _same_region_first(eligible, resting, other_regions=wishes.fallback)
    ordered_by = _scale(models[0], chat, key)
    return RouteDecision(tuple(eligible), tuple(rejections), ordered_by)


def _offers(asked: str, pool: Pool) -> Iterable[Candidate]:
    if asked in PSEUDO_MODELS:
        return (c for model in pool.auto for c in pool.by_model.get(model, ()))
    offers = pool.by_model.get(asked)
    if offers is None:
        raise UnknownModelError(
            f"the model {asked[:100]!r} is not known here; GET /api/v1/models lists those that are",
            param="model",
        )
    return offers


def _accept(question: Question, pool: Pool, scale: str) -> _Accepted:
    """Candidates that satisfy every rule, best score first, and why the others do not."""
    checks = [
        (name, check)
        for name, rule in RULES.items()
        if (check := rule(question)) is not None
    ]
    accepted, rejections = [], []
    for candidate in _offers(question.asked, pool):
        for name, check in checks:
            reason = check(candidate)
            if reason is not None:
                rejections.append(Rejection(candidate.id, name, reason))
                break
        else:
            accepted.append(candidate)
    score = _score(scale)
    accepted.sort(key=score)
    return accepted, _ties(accepted, score), rejections


def _score(scale: str) -> Callable[[Candidate], tuple[float, float]]:
    return _BY_CARBON if scale == "carbon" else _BY_PRICE


_BY_CARBON = attrgetter("by_carbon")
_BY_PRICE = attrgetter("by_price")


def _scale(asked: str, chat: ChatRequest, key: ApiKey) -> str:
    """What comes first in the score: "carbon" or "price"."""
    wishes = chat.preferences
    if wishes.sort == "price" or asked == "lowrouter/auto-cheap":
        return "price"
    low_carbon = (
        key.prefer_low_carbon
        if wishes.prefer_low_carbon is None
        else wishes.prefer_low_carbon
    )
    return "carbon" if low_carbon else "price"


def _by_class(
    ranked: list[Candidate],
    scale: str,
    wanted: tuple[str, ...],
    resting: frozenset[str],
) -> int:
    """Healthy before resting, then the caller's order, then the score; how many tie for the best."""

    def class_of(candidate: Candidate) -> tuple[bool, int]:
        provider = candidate.endpoint.provider.id
        place = wanted.index(provider) if provider in wanted else len(wanted)
        return (candidate.id in resting, place)

    ranked.sort(key=class_of)  # stable: within a class the score decides
    best = class_of(ranked[0]) if ranked else None
    return _ties([c for c in ranked if class_of(c) == best], _score(scale))


def _ties(
    ranked: list[Candidate], score: Callable[[Candidate], tuple[float, float]]
) -> int:
    ties = min(1, len(ranked))
    while ties < len(ranked) and _near(score(ranked[ties]), score(ranked[0])):
        ties += 1
    return ties


def _near(one: tuple[float, float], best: tuple[float, float]) -> bool:
    return all(a == b or abs(a - b) <= TIE * b for a, b in zip(one, best, strict=True))


def _same_region_first(
    eligible: list[Candidate], resting: frozenset[str], *, other_regions: bool
) -> list[Candidate]:
    home = eligible[0].endpoint.region
    if not other_regions:
        return [c for c in eligible if c.endpoint.region == home]
    return sorted(eligible, key=lambda c: (c.id in resting, c.endpoint.region != home))


def _nothing(
    chat: ChatRequest, key: ApiKey, pool: Pool, rejections: list[Rejection]
) -> LowproxyError:
    wishes = chat.preferences
    known = ", ".join(pool.regions) or "none"
    pin = wishes.region
    if pin and not any(region_matches(region, pin) for region in pool.regions):
        return NothingEligibleError(
            f"no provider serves the region {pin!r}; known regions: {known}",
            param="route.region",
        )
    if wishes.provider and wishes.provider not in pool.providers:
        active = ", ".join(pool.providers) or "none"
        return NothingEligibleError(
            f"no provider {wishes.provider!r} is active; active: {active}",
            param="route.provider",
        )
    if rejections and all(r.rule in _KEY_RULES for r in rejections):
        return PermissionDeniedError(
            f"the key {key.name!r} allows nobody who serves {chat.model!r}",
            param="model",
        )
    reasons = sorted({f"{r.rule}: {r.reason}" for r in rejections})[:5]
    return NothingEligibleError(
        f"nothing can serve {chat.model!r} under these constraints"
        f" ({'; '.join(reasons) or 'the pool is empty'}); known regions: {known}"
    )
