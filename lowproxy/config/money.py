"""One currency for costs and budgets, and what a provider's currency is worth in it."""

import datetime
from collections.abc import Mapping
from decimal import Decimal

import attrs

from lowproxy.config.rows import Billing
from lowproxy.core.cost import Prices, decimal, prices
from lowproxy.core.upstreams import Model

# A rate older than this is told by `lowproxy check`: prices have moved on.
OLD_DAYS = 90


@attrs.frozen
class Rate:
    """One unit of a currency in the billing currency `into`, as of a day."""

    value: Decimal
    into: str
    date: datetime.date | None  # None: of the billing currency itself


def rates(billing: Billing) -> Mapping[str, Rate]:
    """Rates by currency; the billing currency's own is 1."""
    own = billing.currency
    found = {
        row.currency: Rate(decimal(row.value), own, row.date) for row in billing.rates
    }
    return {own: Rate(Decimal(1), own, None), **found}


def rate_problems(billing: Billing) -> list[str]:
    """Rows that say the same twice, or the billing currency's own rate."""
    seen: set[str] = set()
    problems = []
    for i, row in enumerate(billing.rates):
        path = f"billing.rates[{i}].currency: found {row.currency!r}"
        if row.currency == billing.currency:
            problems.append(f"{path}, which is billing.currency: its rate is 1")
        elif row.currency in seen:
            problems.append(f"{path} twice, needs one row for each")
        seen.add(row.currency)
    return problems


def model_prices(
    model: Model, currency: str, known: Mapping[str, Rate]
) -> Prices | None:
    """What a token costs in the billing currency; None where a price or a rate is unknown."""
    prompt, completion = model.price_prompt, model.price_completion
    if prompt is None or completion is None:
        return None
    rate = known.get(currency)
    if rate is None and (prompt or completion):
        return None
    if rate is None:  # what is free is free in every currency
        rate = next(iter(known.values()))
    more = model.price_cached, model.price_reasoning
    return prices(prompt, completion, *more, rate.value, rate.into)
