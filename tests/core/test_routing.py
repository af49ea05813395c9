"""No decision breaks a constraint; what is chosen, and what the caller is told where nothing is."""

import copy
import random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowproxy.core.access import ApiKey
from lowproxy.core.affinity import Stay
from lowproxy.core.chat import ChatRequest
from lowproxy.core.policy import PROVENANCES, Policy, Scale
from lowproxy.core.preferences import Preferences
from lowproxy.core.routing import Memo, decide
from lowproxy.core.score import TIE
from lowproxy.core.upstreams import (
    PSEUDO_MODELS,
    Candidate,
    Endpoint,
    Model,
    Pool,
    Provider,
    region_matches,
)
from lowproxy.errors import (
    LowproxyError,
    NothingEligibleError,
    PermissionDeniedError,
    UnknownModelError,
)

KEY = ApiKey(name="dev", hash="sha256:0")
CHAT = ChatRequest.parse(b'{"model":"m","messages":[{"content":"hi"}]}')


def serve(
    provider,
    region="eu-west",
    model="m",
    *,
    grams=None,
    price=None,
    zone=None,
    provenance="declared",
    **facts,
):
    """A candidate in one line."""
    endpoint = Endpoint(
        id=f"{provider}-{region}",
        provider=Provider(id=provider),
        region=region,
        base_url="http://x",
        zone=zone,
        provenance=provenance,
    )
    row = Model(id=model, provider=provider, upstream_model=model, **facts)
    return Candidate(row, endpoint, carbon_g_per_1k=grams, price_per_1k=price)


def pool_of(*candidates, auto=None, policy=None):
    by_model: dict[str, list[Candidate]] = {}
    for each in candidates:
        by_model.setdefault(each.model.id, []).append(each)
    names = tuple(by_model) if auto is None else auto
    pool = {name: tuple(rows) for name, rows in by_model.items()}
    return Pool(pool, names, policy=policy or Policy())


def ask(model="m", *more, needs=(), prompt_bytes=2, **wishes):
    return attrs.evolve(
        CHAT,
        models=(model, *more),
        preferences=Preferences(**wishes),
        needs=frozenset(needs),
        prompt_bytes=prompt_bytes,
    )


def names(decision):
    return [candidate.endpoint.id for candidate in decision.candidates]


def routed(chat, *candidates, key=KEY, resting=(), **more):
    pool = pool_of(*candidates, **more)
    return names(decide(chat, key, pool, frozenset(resting)))


# --- any question at all -----------------------------------------------------------------------

PROVIDERS = ("a", "b", "c")
REGIONS = ("eu-west", "eu-north", "us-east", "eu")
MODELS = ("m", "m/2", "n")
NEEDS = ("tools", "vision")


def some(values, max_size=3):
    return st.lists(st.sampled_from(values), max_size=max_size).map(tuple)


CANDIDATES = st.builds(
    serve,
    st.sampled_from(PROVIDERS),
    st.sampled_from(REGIONS),
    st.sampled_from(MODELS),
    grams=st.none() | st.sampled_from([0.0, 1.0, 1.005, 2.0]),
    price=st.none() | st.sampled_from([0.0, 1.0, 1.005, 3.0]),
    zone=st.none() | st.sampled_from(["FR", "SE"]),
    provenance=st.sampled_from(PROVENANCES),
    quality=st.none() | st.sampled_from([1.0, 2.0]),
    context_length=st.none() | st.sampled_from([10, 1000]),
    capabilities=some(NEEDS).map(frozenset),
    price_prompt=st.none() | st.sampled_from([0.5, 2.0]),
    price_completion=st.none() | st.sampled_from([0.5, 2.0]),
)
POLICIES = st.builds(
    Policy,
    accept_provenance=st.frozensets(st.sampled_from(PROVENANCES)),
    min_quality=st.none() | st.just(1.5),
    low_carbon=st.sampled_from(
        [Policy().low_carbon, Scale.of("low_carbon", 1, 0, 0), Scale.of("x", 0, 1, 0)]
    ),
)
POOLS = st.builds(
    lambda rows, policy: pool_of(*rows, policy=policy),
    st.lists(CANDIDATES, max_size=8, unique_by=lambda c: c.id),
    POLICIES,
)
KEYS = st.builds(
    ApiKey,
    name=st.just("dev"),
    hash=st.just("sha256:0"),
    models=some(("m", "m*", "n", "z*"), 2),
    providers=some(PROVIDERS, 2),
    region=st.none() | st.sampled_from((*REGIONS, "us")),
    prefer_low_carbon=st.booleans(),
)
PRICES = st.none() | st.sampled_from([0.0, 1.0, 5.0])
WISHES = st.builds(
    Preferences,
    region=st.none() | st.sampled_from((*REGIONS, "us", "mars")),
    provider=st.none() | st.sampled_from((*PROVIDERS, "z")),
    prefer_low_carbon=st.none() | st.booleans(),
    fallback=st.booleans(),
    order=some(PROVIDERS),
    only=some(PROVIDERS),
    ignore=some(PROVIDERS, 1),
    allow_fallbacks=st.booleans(),
    require_parameters=st.booleans(),
    sort=st.none() | st.sampled_from(["price", "latency", "throughput"]),
    zone=st.none() | st.sampled_from(["FR", "SE", "XX"]),
    max_carbon_g=st.none() | st.sampled_from([0.0, 0.5, 10.0]),
    max_latency_s=st.none() | st.just(0.5),
    max_price_prompt=PRICES,
    max_price_completion=PRICES,
)
CHATS = st.builds(
    lambda models, wishes, needs, size, limit: attrs.evolve(
        CHAT,
        models=models,
        preferences=wishes,
        needs=needs,
        prompt_bytes=size,
        max_tokens=limit,
    ),
    st.lists(
        st.sampled_from((*MODELS, *PSEUDO_MODELS, "unknown")),
        min_size=1,
        max_size=2,
        unique=True,
    ).map(tuple),
    WISHES,
    some(NEEDS, 1).map(frozenset),
    st.sampled_from([0, 100, 10_000]),
    st.none() | st.sampled_from([1, 2000]),
)
IDS = st.builds(
    lambda p, r, m: f"{p}-{r}/{m}",
    st.sampled_from(PROVIDERS),
    st.sampled_from(REGIONS),
    st.sampled_from(MODELS),
)
RESTING = st.sets(IDS, max_size=6).map(frozenset)
# What changes by the second: medians to the first byte, the price of a gram, where a conversation was.
READINGS = st.fixed_dictionaries(
    {
        "latencies": st.dictionaries(IDS, st.sampled_from([0.01, 0.4, 9.0])),
        "carbon_price": st.sampled_from([0.0, 0.1]),
        "stay": st.none() | st.builds(Stay, IDS, st.sampled_from([0, 2000])),
    }
)
MANY = settings(max_examples=500)


def outcome(*question, **more):
    """The decision, or the failure as the caller sees it."""
    try:
        return decide(*question, **more)
    except LowproxyError as failure:
        assert type(failure) in (
            PermissionDeniedError,
            UnknownModelError,
            NothingEligibleError,
        )
        return failure.status, failure.message


def may_serve(candidate, chat, key, policy):
    """The constraints once more, in the words of the contract."""
    wishes, model = chat.preferences, candidate.model
    provider, region = candidate.endpoint.provider.id, candidate.endpoint.region
    named = model.id in chat.models
    picked = any(asked in PSEUDO_MODELS for asked in chat.models)
    pinned = wishes.region or wishes.zone or key.region
    answer = model.answer_tokens if chat.max_tokens is None else chat.max_tokens
    grams = candidate.grams and candidate.grams.of(-(-chat.prompt_bytes // 4), answer)
    rated = policy.min_quality is None or (
        model.quality is not None and model.quality >= policy.min_quality
    )
    able = chat.needs <= model.capabilities
    fits = model.context_length is None or (
        chat.prompt_bytes // 6 <= model.context_length
    )
    return (
        (named or picked)
        and (wishes.region is None or region_matches(region, wishes.region))
        and (key.region is None or region_matches(region, key.region))
        and wishes.provider in (None, provider)
        and wishes.zone in (None, candidate.endpoint.zone)
        and (not pinned or candidate.endpoint.provenance in policy.accept_provenance)
        and (
            wishes.max_carbon_g is None
            or (grams is not None and grams <= wishes.max_carbon_g)
        )
        and (rated or named)
        and (not wishes.only or provider in wishes.only)
        and provider not in wishes.ignore
        and (not key.providers or provider in key.providers)
        and key.allows_model(model.id)
        and all(
            limit is None or (price is not None and price <= limit)
            for limit, price in (
                (wishes.max_price_prompt, model.price_prompt),
                (wishes.max_price_completion, model.price_completion),
            )
        )
        and (able or (named and not wishes.require_parameters))
        and (fits or named)
    )


def holds(decision, chat, key, pool, resting):
    """Every candidate may serve, each is there once, and one region only where that was said."""
    if isinstance(decision, tuple):
        return
    assert decision.candidates
    policy = pool.policy
    assert all(may_serve(c, chat, key, policy) for c in decision.candidates)
    ids = [c.id for c in decision.candidates]
    assert len(ids) == len(set(ids))
    wishes = chat.preferences
    if not wishes.allow_fallbacks:
        assert len(ids) == 1
    if not wishes.fallback and not wishes.is_pinned and key.region is None:
        assert len({c.endpoint.region for c in decision.candidates}) == 1
    at_rest = [c.id in resting for c in decision.candidates]
    assert at_rest == sorted(at_rest)
    assert decision.chosen is decision.candidates[0]


@settings(max_examples=500)
@given(CHATS, KEYS, POOLS, RESTING, READINGS)
def test_no_decision_breaks_a_constraint(chat, key, pool, resting, readings):
    """For any combination of request, key, gateway, health and grid values."""
    holds(outcome(chat, key, pool, resting, **readings), chat, key, pool, resting)


@settings(max_examples=10_000)
@given(st.integers(0, 2**64))
def test_no_decision_breaks_a_constraint_in_ten_thousand(seed):
    """The same from one number each, which is drawn twenty times as fast."""
    chat, key, pool, resting, readings = anything(random.Random(seed))
    holds(outcome(chat, key, pool, resting, **readings), chat, key, pool, resting)


def anything(rng):
    """What the strategies above draw, by a generator of random numbers."""

    def maybe(*values):
        return rng.choice((None, None, *values))

    def few(values, most=3):
        return tuple(rng.sample(values, rng.randrange(min(most, len(values)) + 1)))

    def rarely(values):
        return few(values, 1) if rng.random() < 0.3 else ()

    def an_id():
        place = f"{rng.choice(PROVIDERS)}-{rng.choice(REGIONS)}"
        return f"{place}/{rng.choice(MODELS)}"

    rows = {
        c.id: c
        for c in (
            serve(
                rng.choice(PROVIDERS),
                rng.choice(REGIONS),
                rng.choice(MODELS),
                grams=maybe(0.0, 1.0, 1.005, 2.0),
                price=maybe(0.0, 1.0, 1.005, 3.0),
                zone=maybe("FR", "SE", "FR"),
                provenance=rng.choice(PROVENANCES),
                quality=maybe(1.0, 2.0),
                context_length=maybe(10, 1000),
                capabilities=frozenset(few(NEEDS)),
                price_prompt=maybe(0.5, 2.0),
                price_completion=maybe(0.5, 2.0),
            )
            for _ in range(rng.randrange(13))
        )
    }
    policy = Policy(
        frozenset(few(PROVENANCES, 4)) | {"declared"},
        maybe(1.5),
        rng.choice([Policy().low_carbon, Scale.of("x", 0, 1, 0)]),
    )
    key = ApiKey(
        name="dev",
        hash="sha256:0",
        models=rarely(("m*", "n", "z*")),
        providers=rarely(PROVIDERS),
        region=maybe("eu", "eu-west", "us") if rng.random() < 0.4 else None,
        prefer_low_carbon=rng.random() < 0.5,
    )
    wishes = Preferences(
        region=maybe("eu", "eu-west", "mars") if rng.random() < 0.4 else None,
        zone=maybe("FR", "SE", "XX") if rng.random() < 0.4 else None,
        provider=maybe(*PROVIDERS) if rng.random() < 0.3 else None,
        prefer_low_carbon=maybe(True, False),
        fallback=rng.random() < 0.7,
        order=few(PROVIDERS),
        only=few(PROVIDERS) if rng.random() < 0.3 else (),
        ignore=rarely(PROVIDERS),
        allow_fallbacks=rng.random() < 0.8,
        require_parameters=rng.random() < 0.2,
        sort=maybe("price", "latency", "throughput"),
        max_carbon_g=maybe(0.0, 0.5, 10.0) if rng.random() < 0.4 else None,
        max_latency_s=maybe(0.5),
        max_price_prompt=maybe(1.0, 5.0) if rng.random() < 0.3 else None,
    )
    asked = rng.sample((*MODELS, *PSEUDO_MODELS), rng.choice((1, 1, 2)))
    chat = attrs.evolve(
        CHAT,
        models=tuple(asked),
        preferences=wishes,
        needs=frozenset(rarely(NEEDS)),
        prompt_bytes=rng.choice((0, 100, 10_000)),
        max_tokens=maybe(1, 2000),
    )
    readings = {
        "latencies": {an_id(): rng.choice((0.01, 0.4, 9.0)) for _ in range(6)},
        "carbon_price": rng.choice((0.0, 0.1)),
        "stay": maybe(Stay(an_id(), 2000)),
    }
    resting = frozenset(an_id() for _ in range(rng.randrange(6)))
    return chat, key, pool_of(*rows.values(), policy=policy), resting, readings


def test_what_is_drawn_is_worth_drawing():
    """Most of it leads somewhere, and some of it nowhere."""
    drawn = [anything(random.Random(seed)) for seed in range(400)]
    served = 0
    for chat, key, pool, resting, readings in drawn:
        decision = outcome(chat, key, pool, resting, **readings)
        served += not isinstance(decision, tuple)

    assert 80 < served < 380


@MANY
@given(CHATS, KEYS, POOLS, RESTING)
def test_nobody_is_left_out_without_a_reason(chat, key, pool, resting):
    """Who is offered and not rejected may serve, unless the caller wanted no second or no other region."""
    decision = outcome(chat, key, pool, resting)
    if isinstance(decision, tuple) or not chat.preferences.allow_fallbacks:
        return
    if not chat.preferences.fallback:
        return

    asked = [
        c
        for model in chat.models
        for offered in (pool.auto if model in PSEUDO_MODELS else (model,))
        for c in pool.by_model[offered]
    ]
    chosen = {c.id for c in decision.candidates}
    rejected = {r.candidate for r in decision.rejections}
    for candidate in asked:
        assert candidate.id in chosen | rejected
        assert may_serve(candidate, chat, key, pool.policy) == (candidate.id in chosen)


def narrowings(wishes):
    """The same wishes with one more constraint."""
    yield attrs.evolve(wishes, ignore=(*wishes.ignore, "a"))
    yield attrs.evolve(wishes, require_parameters=True)
    yield attrs.evolve(wishes, allow_fallbacks=False)
    for name, value in (
        ("region", "eu"),
        ("zone", "FR"),
        ("max_carbon_g", 0.5),
        ("provider", "a"),
        ("only", ("a", "b")),
        ("max_price_prompt", 1.0),
    ):
        if getattr(wishes, name) in (None, ()):
            yield attrs.evolve(wishes, **{name: value})


@settings(max_examples=300)
@given(CHATS, KEYS, POOLS)
def test_adding_a_constraint_never_adds_a_candidate(chat, key, pool):
    """Who could not serve before cannot serve now, whatever was added."""
    nobody_is_added(chat, key, pool)


@settings(max_examples=10_000)
@given(st.integers(0, 2**64))
def test_adding_a_constraint_never_adds_a_candidate_in_ten_thousand(seed):
    """The same from one number each."""
    chat, key, pool, _, _ = anything(random.Random(seed))
    nobody_is_added(chat, key, pool)


def nobody_is_added(chat, key, pool):
    """Each constraint more, of the request, the key and the gateway, leaves a part of who was there."""
    # One region only is a constraint on the order's outcome: compared where it is not wished for.
    wishes = attrs.evolve(chat.preferences, fallback=True, allow_fallbacks=True)
    chat = attrs.evolve(chat, preferences=wishes)
    before = _ids(outcome(chat, key, pool))
    for narrower in narrowings(wishes):
        narrow = attrs.evolve(chat, preferences=narrower)
        assert _ids(outcome(narrow, key, pool)) <= before
    for policy in ({"region": "eu-west"}, {"providers": ("a",)}, {"models": ("m",)}):
        if not any(getattr(key, name) for name in policy):
            assert _ids(outcome(chat, attrs.evolve(key, **policy), pool)) <= before
    for stricter in (
        {
            "accept_provenance": frozenset({"contractual"})
            & pool.policy.accept_provenance
        },
        {"min_quality": 2.5},
    ):
        narrow = attrs.evolve(pool, policy=attrs.evolve(pool.policy, **stricter))
        assert _ids(outcome(chat, key, narrow)) <= before


def _ids(decision):
    if isinstance(decision, tuple):
        return set()
    return {c.id for c in decision.candidates}


@MANY
@given(CHATS, KEYS, POOLS, RESTING, READINGS, st.integers(0, 100))
def test_the_same_question_has_the_same_answer(
    chat, key, pool, resting, readings, draw
):
    """Also for equal values that are not the same, and for every draw among equals the same set."""
    plain = outcome(chat, key, pool, resting, **readings)
    drawn = outcome(chat, key, pool, resting, lambda n: draw % n, **readings)

    assert outcome(*map(copy.deepcopy, (chat, key, pool, resting)), **readings) == plain
    assert (
        _ids(drawn) == _ids(plain)
        or not chat.preferences.allow_fallbacks
        or (not chat.preferences.fallback)
    )


@settings(max_examples=10_000)
@given(st.integers(0, 2**64))
def test_the_same_question_has_the_same_answer_in_ten_thousand(seed):
    """The same from one number each, made twice."""
    first, second = (anything(random.Random(seed)) for _ in range(2))
    told = [outcome(*each[:4], **each[4]) for each in (first, second)]
    assert told[0] == told[1]
    if not isinstance(told[0], tuple):
        assert [c.id for c in told[0].candidates] == [c.id for c in told[1].candidates]


@settings(max_examples=300)
@given(
    st.lists(st.tuples(CHATS, KEYS, RESTING, READINGS), min_size=2, max_size=6), POOLS
)
def test_a_memo_never_changes_a_decision(questions, pool):
    """Keys of one name with other policies, other prompts, other readings: each its own answer."""
    memo = Memo()
    for chat, key, resting, readings in questions * 2:
        expected = outcome(chat, key, pool, resting, **readings)
        assert outcome(chat, key, pool, resting, memo=memo, **readings) == expected


def test_what_a_memo_recalls():
    """Every draw of a decision that was made, and nothing of one that was not or that has changed."""
    pool, memo, measured = pool_of(serve("a"), serve("b")), Memo(), {"a-eu-west/m": 1.0}
    assert memo.recall(ask(), KEY, pool, frozenset(), measured) is None
    first = decide(ask(), KEY, pool, memo=memo, latencies=measured)
    known = memo.recall(ask(), KEY, pool, frozenset(), measured)
    assert known is not None
    assert known[0] is first
    assert len(known) == 2
    others: tuple[Any, ...] = (
        (ask(), attrs.evolve(KEY, region="eu"), pool, frozenset(), measured),
        (ask(), KEY, pool, frozenset({"a-eu-west/m"}), measured),
        (ask(), KEY, pool, frozenset(), dict(measured)),
        (ask(), KEY, pool, frozenset(), measured, 0.1),
        (ask(only=["a"]), KEY, pool, frozenset(), measured),
    )
    for other in others:
        assert memo.recall(*other) is None


def test_a_memo_is_bounded(monkeypatch):
    """However many different questions are asked."""
    monkeypatch.setattr(Memo, "MOST", 4)
    memo = Memo()
    pool = pool_of(serve("a", price_prompt=0.5, price_completion=0.5))
    for i in range(50):
        decide(ask(max_price_prompt=i + 1.0), KEY, pool, memo=memo)

    assert len(vars(memo)["_known"]) <= 4


# --- the order ---------------------------------------------------------------------------------


def test_carbon_then_price():
    """Least grams first; the price decides between equals; unknown is last."""
    rows = (
        serve("a", grams=2.0, price=1.0),
        serve("b", grams=1.0, price=9.0),
        serve("c", grams=1.0, price=5.0),
        serve("d", price=0.1),
    )

    decision = decide(ask(), KEY, pool_of(*rows))
    assert names(decision) == ["c-eu-west", "b-eu-west", "a-eu-west", "d-eu-west"]
    assert decision.ordered_by == "carbon"


@pytest.mark.parametrize(
    ("chat", "key"),
    [
        (ask(prefer_low_carbon=False), KEY),
        (ask(sort="price"), KEY),
        (ask("lowrouter/auto-cheap"), KEY),
        (ask(), attrs.evolve(KEY, prefer_low_carbon=False)),
        (ask(sort="price", prefer_low_carbon=True), KEY),
    ],
)
def test_price_then_carbon(chat, key):
    """Where the request, the pseudo-model or the key says so; the request outranks the key."""
    rows = (serve("a", grams=1.0, price=2.0), serve("b", grams=2.0, price=1.0))

    decision = decide(chat, key, pool_of(*rows))
    assert names(decision) == ["b-eu-west", "a-eu-west"]
    assert decision.ordered_by == "price"
    green = attrs.evolve(KEY, prefer_low_carbon=False)
    assert routed(ask(prefer_low_carbon=True), *rows, key=green)[0] == "a-eu-west"


def test_one_percent_of_grams_is_not_worth_ten_times_the_money():
    """The terms are weighed, not read one after the other."""
    rows = (
        serve("a", grams=1.0, price=10.0),
        serve("b", grams=1.009, price=1.0),
        serve("c", grams=1.005, price=10.0),
    )

    def pick(_n):
        raise AssertionError("nothing to draw")

    decision = decide(ask(), KEY, pool_of(*rows), pick=pick)
    assert names(decision)[0] == "b-eu-west"


def test_ties_are_drawn():
    """Within one percent of the best score `pick` chooses; the others follow."""
    rows = (
        serve("a", grams=1.0, price=1.0),
        serve("b", grams=1.0 + 0.9 * TIE, price=1.0),
        serve("c", grams=1.0 + 1.1 * TIE, price=1.0),
    )
    asked = []

    def pick(n):
        asked.append(n)
        return 1

    for memo in (None, Memo()):
        decision = decide(ask(), KEY, pool_of(*rows), pick=pick, memo=memo)
        assert names(decision) == ["b-eu-west", "a-eu-west", "c-eu-west"]
        assert decision.ties == 2
    assert asked == [2, 2]


def test_a_memo_draws_afresh():
    """Remembering who is equal is not remembering who was drawn."""
    rows = [serve(name, grams=1.0, price=1.0) for name in "abc"]
    memo, draws = Memo(), iter([0, 2, 1, 2])
    pool = pool_of(*rows)
    drawn = [
        names(decide(ask(), KEY, pool, pick=lambda _: next(draws), memo=memo))[0]
        for _ in range(4)
    ]

    assert drawn == ["a-eu-west", "c-eu-west", "b-eu-west", "c-eu-west"]


def test_latency_counts():
    """A first byte that comes ten times later outweighs a little carbon and money."""
    rows = serve("a", grams=1.0, price=1.0), serve("b", grams=1.1, price=1.1)
    slow = {rows[0].id: 10.0, rows[1].id: 0.4}

    assert names(decide(ask(), KEY, pool_of(*rows)))[0] == "a-eu-west"
    assert names(decide(ask(), KEY, pool_of(*rows), latencies=slow))[0] == "b-eu-west"
    noise = {rows[0].id: 0.004, rows[1].id: 0.002}
    assert names(decide(ask(), KEY, pool_of(*rows), latencies=noise))[0] == "a-eu-west"


def test_new_readings_are_seen_through_a_memo():
    """Latencies, the price of a gram, who rests: nothing old is answered."""
    a, b = serve("a", grams=1.0, price=3.0), serve("b", grams=3.0, price=1.0)
    pool, memo = pool_of(a, b), Memo()
    cheap = ask(prefer_low_carbon=False)

    def first(chat=cheap, **more):
        return names(decide(chat, KEY, pool, memo=memo, **more))[0]

    for _ in range(2):
        assert first() == "b-eu-west"
        assert first(carbon_price=9.0) == "a-eu-west"
        assert first(latencies={b.id: 9.0, a.id: 0.1}) == "a-eu-west"
        assert first(resting=frozenset({b.id})) == "a-eu-west"


def test_the_size_of_a_request_counts():
    """Who is dear to read and cheap to write suits a short prompt."""
    reader = serve("a", grams=1.0, price_prompt=1.0, price_completion=9.0)
    writer = serve("b", grams=1.0, price_prompt=9.0, price_completion=1.0)
    long_prompt = attrs.evolve(ask(prompt_bytes=400_000), max_tokens=10)
    short_prompt = attrs.evolve(ask(), max_tokens=1000)

    assert routed(long_prompt, reader, writer)[0] == "a-eu-west"
    assert routed(short_prompt, reader, writer)[0] == "b-eu-west"


def test_who_does_not_know_what_weighs_most_comes_last():
    """However cheap: unknown grams win nothing where carbon leads, nor unknown prices where price does."""
    known, unknown = serve("a", grams=99.0, price=99.0), serve("b", price=0.001)
    assert routed(ask(), unknown, known) == ["a-eu-west", "b-eu-west"]
    unknown = serve("b", grams=0.001)
    assert routed(ask("lowrouter/auto-cheap"), unknown, known)[0] == "a-eu-west"
    # Where it is not what leads, it counts as the worst there is.
    assert routed(ask(), unknown, known)[0] == "b-eu-west"


@pytest.mark.parametrize(
    ("sort", "first"), [("price", "a"), ("latency", "b"), ("throughput", "c")]
)
def test_sorting_by_one_term(sort, first):
    """OpenRouter's `sort`: that term alone, and within one percent of its best the score."""
    rows = [
        serve("a", grams=9.0, price=1.0),
        serve("b", grams=9.0, price=2.0),
        serve("c", grams=9.0, price=3.0),
        serve("d", grams=0.1),
    ]
    speed = dict(zip("abc", (10.0, 20.0, 30.0), strict=True))
    rows = [
        Candidate(
            c.model,
            c.endpoint,
            c.carbon_g_per_1k,
            c.price_per_1k,
            tokens_per_s=speed.get(c.model.provider),
        )
        for c in rows
    ]
    waits = {rows[0].id: 0.9, rows[1].id: 0.2, rows[2].id: 0.5}

    decision = decide(ask(sort=sort), KEY, pool_of(*rows), latencies=waits)
    assert names(decision)[0] == f"{first}-eu-west"
    assert names(decision)[-1] == "d-eu-west"
    assert decision.ordered_by == sort


def test_within_one_percent_of_a_sort_the_score_decides():
    """Equal prices: the cleaner one."""
    rows = [
        serve("a", grams=2.0, price=1.0),
        serve("b", grams=1.0, price=1.005),
        serve("c", grams=0.1, price=1.1),
    ]

    assert routed(ask(sort="price"), *rows) == ["b-eu-west", "a-eu-west", "c-eu-west"]


def test_a_preferred_latency_steers_and_excludes_nobody():
    """Who is slower comes after who is not."""
    a, b = serve("a", grams=1.0, price=1.0), serve("b", grams=5.0, price=5.0)
    waits = {a.id: 2.0, b.id: 0.5}

    def order(most_s):
        chat = ask(max_latency_s=most_s)
        return names(decide(chat, KEY, pool_of(a, b), latencies=waits))

    assert order(1.0) == ["b-eu-west", "a-eu-west"]
    assert order(3.0)[0] == order(0.1)[0] == "a-eu-west"


def test_a_price_on_carbon_steers():
    """As a carbon budget puts one on; nobody is excluded."""
    a, b = serve("a", grams=1.0, price=3.0), serve("b", grams=3.0, price=1.0)
    chat, pool = ask("lowrouter/auto-cheap"), pool_of(a, b)

    assert names(decide(chat, KEY, pool)) == ["b-eu-west", "a-eu-west"]
    assert names(decide(chat, KEY, pool, carbon_price=9.0)) == [
        "a-eu-west",
        "b-eu-west",
    ]


def test_auto_picks_no_model_that_is_too_poor():
    """Nor one that nobody has rated; a model that is asked for by name is the caller's choice."""
    rows = (
        serve("a", model="m", grams=1.0, quality=1.0),
        serve("b", model="n", grams=2.0),
        serve("c", model="o", grams=3.0, quality=2.0),
    )
    policy = Policy(min_quality=1.5)

    assert routed(ask("lowrouter/auto"), *rows, policy=policy) == ["c-eu-west"]
    assert routed(ask("n"), *rows, policy=policy) == ["b-eu-west"]


def test_no_draw_without_a_tie():
    """One candidate, or a clear best, is not a matter of chance."""
    rows = (serve("a", grams=1.0), serve("b", grams=2.0))

    def pick(_n):
        raise AssertionError("nothing to draw")

    decide(ask(), KEY, pool_of(*rows), pick=pick)
    decide(ask(), KEY, pool_of(rows[0]), pick=pick)


def test_the_unknown_tie_with_each_other():
    """Where nothing is known of anybody, chance is fair."""
    rows = [serve(name) for name in "abc"]

    assert (
        names(decide(ask(), KEY, pool_of(*rows), pick=lambda n: n - 1))[0]
        == "c-eu-west"
    )


def test_the_callers_order_of_providers():
    """Comes before the score; who is not named follows."""
    rows = [serve(name, grams=i + 1.0) for i, name in enumerate("abcd")]

    assert routed(ask(order=("c", "b")), *rows) == [
        "c-eu-west",
        "b-eu-west",
        "a-eu-west",
        "d-eu-west",
    ]


def test_those_that_fail_come_last():
    """Behind every healthy one: of other regions, of the caller's order, of the list of models."""
    a, b, c = serve("a", grams=1.0), serve("b", "us", grams=3.0), serve("c", grams=2.0)

    assert routed(ask(), a, b, c, resting=[a.id]) == ["c-eu-west", "b-us", "a-eu-west"]
    assert routed(ask(order=("a",)), a, b, resting=[a.id]) == ["b-us", "a-eu-west"]
    second = serve("b", model="n")
    chat = ask("m", "n")
    assert routed(chat, a, second, resting=[a.id]) == ["b-eu-west", "a-eu-west"]
    assert routed(ask("m", "n", allow_fallbacks=False), a, second, resting=[a.id]) == [
        "b-eu-west"
    ]


def test_when_all_fail_they_are_asked_all_the_same():
    """Resting is no constraint."""
    a, b = serve("a", grams=1.0), serve("b", grams=2.0)

    assert routed(ask(), a, b, resting=[a.id, b.id]) == ["a-eu-west", "b-eu-west"]


# --- regions -----------------------------------------------------------------------------------

PLACES = (
    serve("a", "eu-west", grams=1.0),
    serve("b", "us-east", grams=2.0),
    serve("c", "eu-west", grams=3.0),
    serve("d", "eu-north", grams=4.0),
)


def test_the_next_candidate_is_in_the_same_region():
    """Other regions only behind it."""
    assert routed(ask(), *PLACES) == [
        "a-eu-west",
        "c-eu-west",
        "b-us-east",
        "d-eu-north",
    ]


def test_no_fallback_is_one_region():
    """`fallback: false`: the best candidate's region and no other."""
    assert routed(ask(fallback=False), *PLACES) == ["a-eu-west", "c-eu-west"]
    best = serve("e", "us-east", grams=0.5)
    assert routed(ask(fallback=False), *PLACES, best) == ["e-us-east", "b-us-east"]


def test_allow_fallbacks_false_is_one_candidate():
    """Nobody else, wherever."""
    assert routed(ask(allow_fallbacks=False), *PLACES) == ["a-eu-west"]
    assert routed(ask(region="us-east", allow_fallbacks=False), *PLACES) == [
        "b-us-east"
    ]


@pytest.mark.parametrize(
    ("pin", "places"),
    [
        ("eu-west", ["a-eu-west", "c-eu-west"]),
        ("eu", ["a-eu-west", "c-eu-west", "d-eu-north"]),
        ("us-east", ["b-us-east"]),
    ],
)
def test_a_pin_holds(pin, places):
    """From the request or from the key; `eu` takes every `eu-...`."""
    assert routed(ask(region=pin), *PLACES) == places
    assert routed(ask(), *PLACES, key=attrs.evolve(KEY, region=pin)) == places


def test_a_request_narrows_the_keys_region():
    """Both pins hold, whichever is the wider."""
    for key_pin, pin in (("eu", "eu-north"), ("eu-north", "eu")):
        key = attrs.evolve(KEY, region=key_pin)
        assert routed(ask(region=pin), *PLACES, key=key) == ["d-eu-north"]


# --- models ------------------------------------------------------------------------------------


def test_a_list_of_models():
    """In the caller's order, each with its own best first; nobody twice."""
    rows = (
        serve("a", model="m", grams=5.0),
        serve("b", model="n", grams=1.0),
        serve("c", model="m", grams=4.0),
    )

    assert routed(ask("m", "n"), *rows) == ["c-eu-west", "a-eu-west", "b-eu-west"]
    everything = ask("n", "lowrouter/auto")
    assert routed(everything, *rows) == ["b-eu-west", "c-eu-west", "a-eu-west"]


def test_a_pseudo_model_picks_from_the_pool():
    """Only from the models that the operator lists, only what can do the job, only what the key allows."""
    rows = (
        serve("a", model="m", grams=1.0),
        serve("b", model="n", grams=2.0, capabilities=frozenset({"vision"})),
        serve("c", model="o", grams=3.0, capabilities=frozenset({"vision"})),
    )
    auto = "lowrouter/auto"

    assert routed(ask(auto), *rows) == ["a-eu-west", "b-eu-west", "c-eu-west"]
    assert routed(ask(auto), *rows, auto=("n", "gone")) == ["b-eu-west"]
    assert routed(ask(auto, needs=["vision"]), *rows) == ["b-eu-west", "c-eu-west"]
    key = attrs.evolve(KEY, models=("o", "m"))
    assert routed(ask(auto, needs=["vision"]), *rows, key=key) == ["c-eu-west"]
    assert routed(ask("m", needs=["vision"]), *rows) == ["a-eu-west"]


# --- where nothing is left ---------------------------------------------------------------------


def refused(chat, *candidates, key=KEY, kind=LowproxyError, **more):
    with pytest.raises(kind) as caught:
        decide(chat, key, pool_of(*candidates, **more))
    return caught.value


def test_404_for_an_unknown_model():
    """With the way to those that are known."""
    failure = refused(ask("nobody/knows"), *PLACES, kind=UnknownModelError)

    assert (failure.status, failure.param) == (404, "model")
    assert "'nobody/knows' is not known here; GET /api/v1/models" in failure.message


def test_403_for_what_the_key_may_not_use():
    """Model, region, provider; also before an unknown name is told."""
    key = attrs.evolve(KEY, models=("n",), region="eu", providers=("a",))
    for chat, param in (
        (ask("m"), "model"),
        (ask("secret/model"), "model"),
        (ask("n", region="us-east"), "route.region"),
        (ask("n", provider="b"), "route.provider"),
    ):
        failure = refused(chat, *PLACES, key=key, kind=PermissionDeniedError)
        assert (failure.status, failure.param) == (403, param)


def test_403_where_only_the_key_is_in_the_way():
    """Its providers serve the model nowhere."""
    key = attrs.evolve(KEY, providers=("z",))

    failure = refused(ask(), *PLACES, key=key, kind=PermissionDeniedError)
    assert "'dev' allows nobody who serves 'm'" in failure.message


def test_503_for_an_unknown_region():
    """The known ones are listed, and the SDK is told not to try again."""
    failure = refused(ask(region="mars"), *PLACES, kind=NothingEligibleError)

    assert (failure.status, failure.param) == (503, "route.region")
    assert "'mars'; known regions: eu-north, eu-west, us-east" in failure.message
    assert failure.headers() == {"x-should-retry": "false"}


def test_503_for_a_pinned_region_with_nobody_in_it():
    """It fails closed: nothing is sent elsewhere."""
    other = serve("z", "us-west", model="n")
    failure = refused(ask(region="us-west"), *PLACES, other, kind=NothingEligibleError)

    assert "route.region: the request is pinned to us-west" in failure.message
    assert "known regions" in failure.message
    key = attrs.evolve(KEY, region="us-west")
    failure = refused(ask(), *PLACES, other, key=key, kind=NothingEligibleError)
    assert "key.region: the key is pinned to us-west" in failure.message


def test_503_for_a_provider_that_is_not_active():
    """The active ones are listed."""
    failure = refused(ask(provider="z"), *PLACES, kind=NothingEligibleError)

    assert failure.param == "route.provider"
    assert "no provider 'z' is active; active: a, b, c, d" in failure.message


def test_503_says_which_constraint():
    """The rule and its reason, each once, and not a page of them."""
    rows = [serve(f"p{i}", model="m", price_prompt=float(i)) for i in range(1, 30)]

    failure = refused(ask(max_price_prompt=0.5), *rows, kind=NothingEligibleError)
    assert failure.message.count("provider.max_price: price") == 5
    assert len(failure.message) < 600


def test_503_with_an_empty_pool():
    """Nothing configured is said as such."""
    failure = refused(ask("lowrouter/auto"), kind=NothingEligibleError)

    assert "the pool is empty" in failure.message
    assert "known regions: none" in failure.message
    assert "known regions: none" in refused(ask("lowrouter/auto", region="eu")).message


def test_rejections_are_kept():
    """Candidate, rule, reason: the record and `explain` show them."""
    decision = decide(ask(region="us-east"), KEY, pool_of(*PLACES))

    assert [(r.candidate, r.rule) for r in decision.rejections] == [
        ("a-eu-west/m", "route.region"),
        ("c-eu-west/m", "route.region"),
        ("d-eu-north/m", "route.region"),
    ]
    assert decision.rejections[0].reason == "the request is pinned to us-east"
