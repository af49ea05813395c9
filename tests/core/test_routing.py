"""No decision breaks a constraint; what is chosen, and what the caller is told where nothing is."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.preferences import Preferences
from lowproxy.core.routing import TIE, Memo, decide
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


def serve(provider, region="eu-west", model="m", *, grams=None, price=None, **facts):
    """A candidate in one line."""
    endpoint = Endpoint(
        id=f"{provider}-{region}",
        provider=Provider(id=provider),
        region=region,
        base_url="http://x",
    )
    row = Model(id=model, provider=provider, upstream_model=model, **facts)
    return Candidate(row, endpoint, carbon_g_per_1k=grams, price_per_1k=price)


def pool_of(*candidates, auto=None):
    by_model: dict[str, list[Candidate]] = {}
    for each in candidates:
        by_model.setdefault(each.model.id, []).append(each)
    names = tuple(by_model) if auto is None else auto
    return Pool({name: tuple(rows) for name, rows in by_model.items()}, names)


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
    context_length=st.none() | st.sampled_from([10, 1000]),
    capabilities=some(NEEDS).map(frozenset),
    price_prompt=st.none() | st.sampled_from([0.5, 2.0]),
    price_completion=st.none() | st.sampled_from([0.5, 2.0]),
)
POOLS = st.lists(CANDIDATES, max_size=8, unique_by=lambda c: c.id).map(
    lambda rows: pool_of(*rows)
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
    sort=st.none() | st.just("price"),
    max_price_prompt=PRICES,
    max_price_completion=PRICES,
)
CHATS = st.builds(
    lambda models, wishes, needs, size: attrs.evolve(
        CHAT, models=models, preferences=wishes, needs=needs, prompt_bytes=size
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
)
RESTING = st.sets(
    st.builds(
        lambda p, r, m: f"{p}-{r}/{m}",
        st.sampled_from(PROVIDERS),
        st.sampled_from(REGIONS),
        st.sampled_from(MODELS),
    ),
    max_size=6,
).map(frozenset)
MANY = settings(max_examples=1000)


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


def may_serve(candidate, chat, key):
    """The constraints once more, in the words of the contract."""
    wishes, model = chat.preferences, candidate.model
    provider, region = candidate.endpoint.provider.id, candidate.endpoint.region
    named = model.id in chat.models
    picked = any(asked in PSEUDO_MODELS for asked in chat.models)
    able = chat.needs <= model.capabilities
    fits = model.context_length is None or (
        chat.prompt_bytes // 6 <= model.context_length
    )
    return (
        (named or picked)
        and (wishes.region is None or region_matches(region, wishes.region))
        and (key.region is None or region_matches(region, key.region))
        and wishes.provider in (None, provider)
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


@MANY
@given(CHATS, KEYS, POOLS, RESTING)
def test_no_decision_breaks_a_constraint(chat, key, pool, resting):
    """Every candidate may serve, each is there once, and one region only where that was said."""
    decision = outcome(chat, key, pool, resting)
    if isinstance(decision, tuple):
        return

    assert decision.candidates
    assert all(may_serve(c, chat, key) for c in decision.candidates)
    ids = [c.id for c in decision.candidates]
    assert len(ids) == len(set(ids))
    wishes = chat.preferences
    if not wishes.allow_fallbacks:
        assert len(ids) == 1
    if not wishes.fallback and wishes.region is None and key.region is None:
        assert len({c.endpoint.region for c in decision.candidates}) == 1
    at_rest = [c.id in resting for c in decision.candidates]
    assert at_rest == sorted(at_rest)
    assert decision.chosen is decision.candidates[0]


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
        assert may_serve(candidate, chat, key) == (candidate.id in chosen)


def narrowings(wishes):
    """The same wishes with one more constraint."""
    yield attrs.evolve(wishes, ignore=(*wishes.ignore, "a"))
    yield attrs.evolve(wishes, require_parameters=True)
    yield attrs.evolve(wishes, allow_fallbacks=False)
    for name, value in (
        ("region", "eu"),
        ("provider", "a"),
        ("only", ("a", "b")),
        ("max_price_prompt", 1.0),
    ):
        if not getattr(wishes, name):
            yield attrs.evolve(wishes, **{name: value})


@settings(max_examples=300)
@given(CHATS, KEYS, POOLS)
def test_adding_a_constraint_never_adds_a_candidate(chat, key, pool):
    """Who could not serve before cannot serve now, whatever was added."""
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


def _ids(decision):
    if isinstance(decision, tuple):
        return set()
    return {c.id for c in decision.candidates}


@MANY
@given(CHATS, KEYS, POOLS, RESTING, st.integers(0, 100))
def test_the_same_question_has_the_same_answer(chat, key, pool, resting, draw):
    """Also with a memory of earlier answers, and for every draw among equals the same set."""
    plain = outcome(chat, key, pool, resting)
    drawn = outcome(chat, key, pool, resting, lambda n: draw % n)

    assert outcome(chat, key, pool, resting) == plain
    assert (
        _ids(drawn) == _ids(plain)
        or not chat.preferences.allow_fallbacks
        or (not chat.preferences.fallback)
    )


@settings(max_examples=300)
@given(st.lists(st.tuples(CHATS, KEYS, RESTING), min_size=2, max_size=6), POOLS)
def test_a_memo_never_changes_a_decision(questions, pool):
    """Keys of one name with other policies, other prompts, other resting ones: each its own answer."""
    memo = Memo()
    for chat, key, resting in questions * 2:
        expected = outcome(chat, key, pool, resting)
        assert outcome(chat, key, pool, resting, memo=memo) == expected


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


def test_ties_are_drawn():
    """Within one percent in both terms, `pick` chooses; the others follow."""
    rows = (
        serve("a", grams=1.0, price=1.0),
        serve("b", grams=1.0 + 0.9 * TIE, price=1.0),
        serve("c", grams=1.0 + 1.1 * TIE, price=1.0),
    )
    asked = []

    def pick(n):
        asked.append(n)
        return 1

    decision = decide(ask(), KEY, pool_of(*rows), pick=pick)
    assert asked == [2]
    assert names(decision) == ["b-eu-west", "a-eu-west", "c-eu-west"]


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
