"""What a request is expected to take, as straight lines."""

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.expected import LEAST_G, LEAST_PRICE, Grams, TokenPrices, line

AMOUNTS = st.floats(0, 1)
TOKENS = st.integers(0, 100_000)
GRAMS = st.builds(Grams, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
PRICES = st.builds(TokenPrices, AMOUNTS, AMOUNTS, AMOUNTS)


@given(GRAMS, PRICES, TOKENS, TOKENS)
def test_a_line_is_the_formula(grams, prices, prompt, answer):
    """For every prompt, at the answer that the line is for."""
    base, slope, price_base, price_slope = line(grams, prices, answer)

    expected = grams.of(prompt, answer) + LEAST_G
    assert base + slope * prompt == pytest.approx(expected, rel=1e-9)
    price = prices.of(prompt, answer) + LEAST_PRICE
    assert price_base + price_slope * prompt == pytest.approx(price, rel=1e-9)


def test_by_hand():
    """An answer token looks back on the prompt and on half the answer."""
    assert Grams(1.0, 0.1, 2.0, 0.01).of(10, 4) == 1 + 1 + 8 + 0.01 * 4 * 12
    assert TokenPrices(2.0, 3.0, 1.0).of(10, 4) == 32.0


def test_what_is_unknown_is_no_number():
    """Each for itself, so that it is filled in and never counted as nothing."""
    known = Grams(0.0, 1.0, 1.0, 0.0)

    assert [isnan(each) for each in line(None, TokenPrices(1, 1, 1), 5)] == [
        True
    ] * 2 + [False] * 2
    assert [isnan(each) for each in line(known, None, 5)] == [False] * 2 + [True] * 2
