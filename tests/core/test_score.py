"""The score: a weighted geometric mean that no unit changes and that nothing unknown improves."""

from math import isclose

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lowproxy.core.chat import ChatRequest
from lowproxy.core.expected import LEAST_G, LEAST_PRICE, Grams
from lowproxy.core.policy import Policy, Scale
from lowproxy.core.score import (
    LEAST_S,
    Terms,
    exact_size,
    rough_size,
    rounded,
    scale_of,
    scores,
    terms_of,
    waits_s,
)
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Provider

CHAT = ChatRequest.parse(b'{"model":"m","messages":[{"content":"hi"}]}')


def candidate(name, grams, price, **facts):
    """Grams and price per 1000 tokens; None is unknown."""
    endpoint = Endpoint(name, Provider(name), "eu", "http://x")
    return Candidate(Model("m", name, "m", **facts), endpoint, grams, price)


AMOUNTS = st.floats(1e-4, 1e4)
SECONDS = st.floats(0.001, 100)
SCALES = st.builds(
    lambda c, s, p: Scale.of("x", c, s, p),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.01, 1),
)
SIZES = st.tuples(st.integers(0, 100_000), st.none() | st.integers(1, 10_000))
LAMBDAS = st.just(0.0) | st.floats(0, 1)
# The gateway's own scales go other ways through the same sums than any scale.
SCALES |= st.sampled_from([Policy().low_carbon, Policy().standard, Policy().cheap])


@settings(max_examples=10_000)
@given(
    st.tuples(AMOUNTS, AMOUNTS, SECONDS),
    st.tuples(AMOUNTS, AMOUNTS, SECONDS),
    SCALES,
    SIZES,
    LAMBDAS,
)
def test_the_score_is_monotone_in_each_term(one, more, scale, size, carbon_price):
    """Who takes more of one thing and no less of the others does not score better."""
    other = tuple(map(max, zip(one, more, strict=True)))
    rows = [candidate("a", *one[:2]), candidate("b", *other[:2])]
    latencies = {rows[0].id: one[2], rows[1].id: other[2]}

    better, worse = scores(rows, size, scale.weights, latencies, carbon_price)
    assert better <= worse * (1 + 1e-12)


@given(
    st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=2, max_size=5),
    SCALES,
    SIZES,
    st.floats(1e-3, 1e3),
)
def test_no_unit_changes_the_order(rows, scale, size, unit):
    """Kilograms for grams, cents for dollars: who is better stays better."""
    plain = [candidate(str(n), g, p) for n, (g, p) in enumerate(rows)]
    other = [candidate(str(n), g * unit, p * unit) for n, (g, p) in enumerate(rows)]
    before = scores(plain, size, scale.weights, {})
    after = scores(other, size, scale.weights, {})

    assume(size[0] + (size[1] or 300) > 10)  # beneath, the least amounts show
    for n, one in enumerate(before):
        for m, another in enumerate(before):
            if one < another * 0.98:
                assert after[n] < after[m]


@given(
    st.lists(
        st.tuples(st.none() | AMOUNTS, st.none() | AMOUNTS, st.none() | SECONDS),
        min_size=2,
        max_size=6,
    ),
    SCALES,
    SIZES,
)
def test_nothing_unknown_helps(rows, scale, size):
    """Who does not tell scores no better than with the most of what the others tell."""
    rows = [candidate(str(n), g, p) for n, (g, p, _) in enumerate(rows)]
    made = scores(rows, size, scale.weights, {})
    for term in ("grams", "prices"):
        known = [getattr(c, term) for c in rows if getattr(c, term) is not None]
        if not known:
            continue
        most = max(known, key=lambda each: each.prompt)
        for n, each in enumerate(rows):
            if getattr(each, term) is None:
                at_worst = next(c for c in rows if getattr(c, term) is most)
                filled = Candidate(
                    attrs.evolve(each.model),
                    each.endpoint,
                    at_worst.carbon_g_per_1k
                    if term == "grams"
                    else each.carbon_g_per_1k,
                    at_worst.price_per_1k if term == "prices" else each.price_per_1k,
                )
                others = [*rows[:n], filled, *rows[n + 1 :]]
                told = scores(others, size, scale.weights, {})
                assert isclose(told[n], made[n], rel_tol=1e-9)


@given(
    st.lists(st.tuples(AMOUNTS, AMOUNTS, SECONDS), min_size=1, max_size=5),
    SCALES,
    SIZES,
    st.booleans(),
)
def test_the_score_is_what_the_formula_says(rows, scale, size, measured):
    """Whichever way the sums go."""
    places = [candidate(str(n), g, p) for n, (g, p, _) in enumerate(rows)]
    waits = [row[2] for row in rows]
    latencies = {c.id: s for c, s in zip(places, waits, strict=True)}
    found = scores(places, size, scale.weights, latencies if measured else {})
    for c, wait, score in zip(places, waits, found, strict=True):
        grams, _, price, _ = terms_of(c, size, {})
        assert grams is not None
        assert price is not None
        carbon, slow, cheap = scale.weights
        expected = (grams + LEAST_G) ** carbon * (price + LEAST_PRICE) ** cheap
        expected *= (wait + LEAST_S) ** slow if measured else 1.0
        assert score == pytest.approx(expected, rel=1e-9)


def test_by_hand():
    """The terms to the power of their weights."""
    row = candidate("a", 2.0, 3.0)
    scale = Scale.of("x", 0.5, 0.25, 0.25)

    (score,) = scores([row], (1000, 1000), scale.weights, {row.id: 0.4})
    grams, price = 4.0 + LEAST_G, 6.0 + LEAST_PRICE
    assert score ** max(scale.shares) == pytest.approx(
        grams**0.5 * (0.4 + LEAST_S) ** 0.25 * price**0.25
    )


def test_a_price_on_carbon():
    """Money per gram, added to the price: the dearer and cleaner one gets ahead."""
    clean, cheap = candidate("a", 1.0, 2.0), candidate("b", 3.0, 1.0)
    weights = Policy().cheap.weights
    free = scores([clean, cheap], (500, 500), weights, {})
    priced = scores([clean, cheap], (500, 500), weights, {}, 2.0)

    assert free[1] < free[0]
    assert priced[0] < priced[1]


def test_who_was_not_measured():
    """Counts as the slowest who was; nobody, as no difference."""
    rows = [candidate(name, 1.0, 1.0) for name in "abc"]

    assert waits_s(rows, {rows[0].id: 0.5, rows[2].id: 0.2}) == [0.5, 0.5, 0.2]
    assert waits_s(rows, {}) == []
    assert waits_s(rows, {"somebody else": 1.0}) == []


def test_sizes():
    """A token to four bytes; the request's own limit, where it is one."""
    sized = [
        exact_size(attrs.evolve(CHAT, prompt_bytes=size, max_tokens=limit))
        for size, limit in ((0, None), (1, 7), (9, 0), (4000, -3), (0, 10**400))
    ]

    assert sized == [(0, None), (1, 7), (3, None), (1000, None), (0, 100_000_000)]


@given(st.integers(0, 10**8), st.none() | st.integers(1, 10**8))
def test_rounded_sizes(prompt, answer):
    """Never more, at most a fifth less; what is round stays."""
    for exact, made in zip((prompt, answer), rounded((prompt, answer)), strict=True):
        if exact is not None:
            assert made is not None
            assert made <= exact <= made * 1.25
    assert rounded(rounded((prompt, answer))) == rounded((prompt, answer))


@given(st.integers(0, 2**20), st.integers(-3, 2**40) | st.none())
def test_a_rough_size_is_the_rounded_one(size, limit):
    """Decisions are remembered by it."""
    chat = attrs.evolve(CHAT, prompt_bytes=size, max_tokens=limit)
    assert rough_size(chat) == rounded(exact_size(chat))


def test_scales():
    """By the pseudo-model, else by the preference; a wish to sort comes before either."""
    policy = Policy()

    assert scale_of("m", None, True, policy) is policy.low_carbon
    assert scale_of("m", None, False, policy) is policy.standard
    assert scale_of("lowrouter/auto", None, True, policy) is policy.low_carbon
    assert scale_of("lowrouter/auto-cheap", None, True, policy) is policy.cheap
    sorted_by = scale_of("m", "latency", True, policy)
    assert (sorted_by.sort, sorted_by.leading) == ("latency", "latency")
    assert sorted_by.weights == policy.low_carbon.weights


def test_terms():
    """What the trace tells: unknown is None."""
    row = candidate("a", 2.0, None, answer_tokens=500)

    assert terms_of(row, (500, None), {row.id: 0.3}) == Terms(2.0, 0.3, None)
    assert terms_of(row, (500, 1500), {}) == Terms(4.0, None, None)
    exact = Candidate(row.model, row.endpoint, None, 1.0, Grams(1.0, 0, 0, 0))
    assert terms_of(exact, (500, None), {}).carbon_g == 1.0
