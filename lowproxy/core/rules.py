"""The hard constraints of routing, one function each, and RULES, the list of them.

A rule looks at the question (what the request, the key and the gateway say) and gives a check for candidates,
or None where it has nothing to say: most requests have one or two constraints, and the others must cost them
nothing. A check gives the reason why a candidate cannot serve, or None. To add a rule: write the function,
add its line to RULES under the scope that it speaks for. The order is from the most specific scope to the
least, because the first reason is the one that the caller is told.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lowproxy.core.access import ApiKey
from lowproxy.core.policy import Policy, Scale
from lowproxy.core.preferences import NO_WISHES, Preferences
from lowproxy.core.upstreams import PSEUDO_MODELS, Candidate, Pool, region_matches

# A token of English is about four bytes; six leaves room for error, since this rule excludes.
BYTES_PER_TOKEN = 6


# A tuple, because one is built per request and a frozen attrs value takes three times as long.
class World(NamedTuple):
    """What a decision is made in: request, key, gateway and readings, and no text of the request.

    `needs` names the capabilities that the request uses. Tokens are expected ones, `answer` None for as many
    as the model usually writes; `size` has the rounded ones that scores go by. `resting`, `latencies` and
    `carbon_price` are as in `routing.decide`.
    """

    pool: Pool
    key: ApiKey
    wishes: Preferences
    needs: frozenset[str]
    prompt_bytes: int
    prompt: int
    answer: int | None
    size: tuple[int, int | None]
    scale: Scale
    resting: frozenset[str]
    latencies: Mapping[str, float]
    carbon_price: float


class Question(NamedTuple):
    """What a rule may look at; `asked` is the model id being resolved."""

    asked: str
    world: World

    @property
    def wishes(self) -> Preferences:
        """What the request says about its routing."""
        return self.world.wishes

    @property
    def key(self) -> ApiKey:
        """Whose request it is."""
        return self.world.key

    @property
    def policy(self) -> Policy:
        """What the gateway says."""
        return self.world.pool.policy

    @property
    def is_pseudo(self) -> bool:
        """Whether the gateway itself picks the model."""
        return self.asked in PSEUDO_MODELS


Check = Callable[[Candidate], str | None]
Rule = Callable[[Question], Check | None]


def route_region(question: Question) -> Check | None:
    """The request's pin: `route.region` or the header."""
    return _pinned(
        question.wishes.region, "the request is pinned to", question.world.pool
    )


def route_zone(question: Question) -> Check | None:
    """`route.zone`: one grid zone. A place whose zone is not known is not known to be in it."""
    zone = question.wishes.zone
    if zone is None:
        return None
    return lambda c: None if c.zone == zone else f"its grid zone is not {zone}"


def route_provider(question: Question) -> Check | None:
    """`route.provider`."""
    wanted = question.wishes.provider
    if wanted is None:
        return None
    return lambda c: (
        None if c.endpoint.provider.id == wanted else f"provider is not {wanted}"
    )


def provider_only(question: Question) -> Check | None:
    """`provider.only`."""
    only = question.wishes.only
    if not only:
        return None
    return lambda c: None if c.endpoint.provider.id in only else "not in provider.only"


def provider_ignore(question: Question) -> Check | None:
    """`provider.ignore`."""
    ignored = question.wishes.ignore
    if not ignored:
        return None
    return lambda c: "in provider.ignore" if c.endpoint.provider.id in ignored else None


def max_price(question: Question) -> Check | None:
    """`provider.max_price`; an unknown price is not known to be low enough."""
    wishes = question.wishes
    prompt, completion = wishes.max_price_prompt, wishes.max_price_completion
    if prompt is None and completion is None:
        return None

    def check(candidate: Candidate) -> str | None:
        model = candidate.model
        for limit, price in (
            (prompt, model.price_prompt),
            (completion, model.price_completion),
        ):
            if limit is not None and (price is None or price > limit):
                return f"price {'unknown' if price is None else price} is over {limit}"
        return None

    return check


def max_carbon_g(question: Question) -> Check | None:
    """`route.max_carbon_g`: this request's expected grams; unknown ones are not known to be few enough."""
    most = question.wishes.max_carbon_g
    if most is None:
        return None
    prompt, limit = question.world.prompt, question.world.answer

    def check(candidate: Candidate) -> str | None:
        if candidate.grams is None:
            return f"expected grams unknown, over {most:g}"
        answer = candidate.model.answer_tokens if limit is None else limit
        grams = candidate.grams.of(prompt, answer)
        return f"expected {grams:.3g} g, over {most:g}" if grams > most else None

    return check


def accept_provenance(question: Question) -> Check | None:
    """`routing.accept_provenance`: how sure a place must be to satisfy a pin, the request's or the key's."""
    if not question.wishes.is_pinned and question.key.region is None:
        return None
    pool = question.world.pool
    accepted = pool.policy.accept_provenance
    if pool.provenances <= accepted:
        return None

    def check(candidate: Candidate) -> str | None:
        sure = candidate.endpoint.provenance
        if sure in accepted:
            return None
        return f"its region is {sure}, a pin takes {' or '.join(sorted(accepted))}"

    return check


def min_quality(question: Question) -> Check | None:
    """`auto.min_quality`: a pseudo-model picks no model below it, and none that nobody has rated."""
    least = question.policy.min_quality
    if least is None or not question.is_pseudo:
        return None

    def check(candidate: Candidate) -> str | None:
        quality = candidate.model.quality
        if quality is None or quality < least:
            return f"quality {'unknown' if quality is None else f'{quality:g}'} is under {least:g}"
        return None

    return check


def key_region(question: Question) -> Check | None:
    """The key's pin."""
    return _pinned(question.key.region, "the key is pinned to", question.world.pool)


def key_models(question: Question) -> Check | None:
    """The key's model list, for what a pseudo-model picks; a named model has been asked about already."""
    key = question.key
    if not key.models or not question.is_pseudo:
        return None
    return lambda c: (
        None if key.allows_model(c.model.id) else "the key does not allow this model"
    )


def key_providers(question: Question) -> Check | None:
    """The key's provider list."""
    allowed = question.key.providers
    if not allowed:
        return None
    return lambda c: (
        None
        if c.endpoint.provider.id in allowed
        else "the key does not allow this provider"
    )


def capabilities(question: Question) -> Check | None:
    """A pseudo-model never picks a model that is not known to do the job; a named one is the caller's choice."""
    needs = question.world.needs
    if not needs or not (question.is_pseudo or question.wishes.require_parameters):
        return None

    def check(candidate: Candidate) -> str | None:
        missing = needs - candidate.model.capabilities
        return f"not known for {', '.join(sorted(missing))}" if missing else None

    return check


def context(question: Question) -> Check | None:
    """A prompt that cannot fit is not sent by a pseudo-model's choice."""
    if not question.is_pseudo:
        return None
    least = question.world.prompt_bytes // BYTES_PER_TOKEN
    shortest = question.world.pool.least_context
    if shortest is None or least <= shortest:
        return None  # it fits wherever a pseudo-model may go

    def check(candidate: Candidate) -> str | None:
        length = candidate.model.context_length
        if length is None or least <= length:
            return None
        return f"a prompt of at least {least} tokens is over its {length}"

    return check


_OF_REQUEST: dict[str, Rule] = {
    "route.region": route_region,
    "route.zone": route_zone,
    "route.provider": route_provider,
    "route.max_carbon_g": max_carbon_g,
    "provider.only": provider_only,
    "provider.ignore": provider_ignore,
    "provider.max_price": max_price,
}
_OF_KEY: dict[str, Rule] = {
    "key.region": key_region,
    "key.models": key_models,
    "key.providers": key_providers,
}
_OF_PIN: dict[str, Rule] = {"routing.accept_provenance": accept_provenance}
_OF_JOB: dict[str, Rule] = {
    "capabilities": capabilities,
    "context": context,
    "auto.min_quality": min_quality,
}
RULES: dict[str, Rule] = {**_OF_REQUEST, **_OF_KEY, **_OF_PIN, **_OF_JOB}

NamedChecks = list[tuple[str, Check]]
_NO_CHECKS: NamedChecks = []


def checks(asked: str, world: World) -> NamedChecks:
    """The checks that a question leads to, by the names of their rules, in their order.

    Scopes that say nothing are passed over as a whole: most requests say nothing, and a call per rule would
    cost as much as the rest of a decision.
    """
    wishes, key = world.wishes, world.key
    by_request = wishes is not NO_WISHES and wishes != NO_WISHES
    by_key = key.region is not None or key.models or key.providers
    by_job = (asked in PSEUDO_MODELS or wishes.require_parameters) and _is_picky(world)
    if not (by_request or by_key or by_job):
        return _NO_CHECKS
    question = Question(asked, world)
    rules: dict[str, Rule] = {}
    if by_request:
        rules.update(_OF_REQUEST)
    if by_key:
        rules.update(_OF_KEY)
    if by_request or by_key:
        rules.update(_OF_PIN)
    if by_job:
        rules.update(_OF_JOB)
    found = [(name, rule(question)) for name, rule in rules.items()]
    return [(name, check) for name, check in found if check is not None]


def _is_picky(world: World) -> bool:
    """Whether the job asks for anything that a candidate may lack."""
    pool = world.pool
    if world.needs or pool.policy.min_quality is not None:
        return True
    least = pool.least_context
    return least is not None and world.prompt_bytes // BYTES_PER_TOKEN > least


def _pinned(pin: str | None, who: str, pool: Pool) -> Check | None:
    if pin is None:
        return None
    within = {region for region in pool.places if region_matches(region, pin)}
    reason = f"{who} {pin}"
    return lambda c: None if c.region in within else reason
