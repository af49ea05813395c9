"""Costs are exact, in whole nano-units."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.cost import NANO, decimal, money, nano, prices
from lowproxy.core.usage import Usage

PRICE = st.integers(0, 10**9).map(lambda n: n / 10**6)  # up to 1000, six digits
TOKENS = st.integers(0, 10**9)
RATE = st.integers(1, 10**7).map(lambda n: Decimal(n).scaleb(-5))


@given(p=PRICE, c=PRICE, o=PRICE, r=PRICE, rate=RATE, t=st.tuples(*[TOKENS] * 4))
def test_a_cost_is_the_decimal_sum_rounded_once(p, c, o, r, rate, t):
    """No digit is lost between the price of the page and the nano-unit."""
    prompt, cached, completion, reasoning = t
    usage = Usage(prompt + cached, completion + reasoning, cached, reasoning)
    said = (p, c, o, r)
    exact = sum(n * decimal(each) for n, each in zip(t, said, strict=True)) * rate
    expected = (exact * 1000).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert prices(p, o, c, r, rate).cost_nano(usage) == int(expected)


@given(p=PRICE, c=PRICE, o=PRICE, r=PRICE, rate=RATE, t=st.tuples(*[TOKENS] * 4))
def test_the_most_is_never_less_than_the_cost(p, c, o, r, rate, t):
    """What a budget reserves covers whatever of the tokens is cached or reasoning."""
    prompt, cached, completion, reasoning = t
    usage = Usage(prompt + cached, completion + reasoning, cached, reasoning)
    asked = prices(p, o, c, r, rate)
    assert asked.most_nano(usage.prompt, usage.completion) >= asked.cost_nano(usage)


def test_what_has_no_price_of_its_own_costs_what_the_rest_does():
    """Cached as prompt, reasoning as completion."""
    usage = Usage(100, 10, 60, 5)
    assert prices(2.0, 8.0).cost_nano(usage) == (100 * 2 + 10 * 8) * 1000
    assert (
        prices(2.0, 8.0, 1.0, 4.0).cost_nano(usage)
        == ((40 * 2 + 60 * 1) + (5 * 8 + 5 * 4)) * 1000
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (420_000, "0.00042"),
        (1_500_000_000, "1.5"),
        (20_000_000_000, "20"),
        (-1_250_000_000, "-1.25"),
    ],
)
def test_money_is_written_without_an_exponent(amount, text):
    """As people and shells read it."""
    assert money(amount) == text


def test_an_amount_is_the_decimal_that_it_reads_as():
    """0.1 is a tenth, though no float is; what is below a nano-unit is dropped."""
    assert nano(0.1) == 100_000_000
    assert nano(0.3) == 300_000_000
    assert nano(1e-10) == 0


@given(st.integers(-(10**18), 10**18))
def test_money_reads_as_the_amount(amount):
    """To the last nano-unit, and as the same double as the division gives."""
    assert Decimal(money(amount)) * NANO == amount
    assert float(money(amount)) == amount / NANO
