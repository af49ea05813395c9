"""Prices in one currency, by rates that the operator dates."""

import datetime
from decimal import Decimal

import pytest

from lowproxy.config.money import model_prices, rate_problems, rates
from lowproxy.config.rows import Billing, RateRow
from lowproxy.core.upstreams import Model
from lowproxy.core.usage import Usage

DAY = datetime.date(2026, 11, 20)


def billing(*currencies):
    return Billing("EUR", tuple(RateRow(each, 0.87, DAY) for each in currencies))


def model(*priced):
    return Model("acme/small", "acme", "small", None, frozenset(), *priced)


def test_a_cost_is_in_the_billing_currency():
    """By the rate of the provider's currency, exactly."""
    known = rates(billing("USD"))
    million = Usage(1_000_000, 1_000_000)
    assert known["USD"].value == Decimal("0.87")
    dollars = model_prices(model(0.15, 0.6), "USD", known)
    assert dollars is not None
    assert dollars.cost_nano(million) == 652_500_000
    euros = model_prices(model(0.15, 0.6), "EUR", known)
    assert euros is not None
    assert euros.cost_nano(million) == 750_000_000


@pytest.mark.parametrize("priced", [(None, 1.0), (1.0, None), (None, None)])
def test_half_a_price_is_none(priced):
    """Unknown is never taken for nothing."""
    assert model_prices(model(*priced), "EUR", rates(billing())) is None


def test_without_a_rate_there_is_no_price_unless_it_is_free():
    """What is free is free in every currency."""
    known = rates(billing("USD"))
    assert model_prices(model(1.0, 1.0), "CNY", known) is None
    free = model_prices(model(0.0, 0.0), "CNY", known)
    assert free is not None
    assert free.cost_nano(Usage(10, 10)) == 0


def test_rates_that_contradict_each_other_are_named():
    """Twice the same, or one for the billing currency itself."""
    first, second = rate_problems(billing("USD", "EUR", "USD"))
    assert first.startswith("billing.rates[1].currency: found 'EUR', which is")
    assert second.startswith("billing.rates[2].currency: found 'USD' twice")
    assert rate_problems(billing("USD", "CHF")) == []
