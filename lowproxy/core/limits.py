"""What a key may use up, and what is said of it: values. `lowproxy.core.account` keeps the count.

Money is whole nano-units and carbon whole micrograms, so sums are exact. Times are epoch seconds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

# More than anybody has to spend, or can count to.
ENDLESS = 1 << 100
MINUTE_S = 60.0


def _most(limit: int | None) -> int:
    return ENDLESS if limit is None else limit


def _ms_per(rate: float) -> float:
    return MINUTE_S * 1000 / rate if rate else 0.0


def _told(what: str, limit: int | None) -> str:
    return f"x-ratelimit-limit-{what}: {limit}\r\nx-ratelimit-remaining-{what}: "


def _derived(rule: Callable[[Any], Any]) -> Any:
    made = attrs.Factory(rule, takes_self=True)
    return attrs.field(init=False, repr=False, eq=False, default=made)


@attrs.frozen(cache_hash=True)
class Limits:
    """A key's limits; None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_streams: int | None = None
    daily_nano: int | None = None  # money, in nano-units of the billing currency
    monthly_nano: int | None = None
    daily_carbon_ug: int | None = None

    # Whether what a request costs has to be known before it is made.
    money: bool = _derived(
        lambda self: self.daily_nano is not None or self.monthly_nano is not None
    )
    # What an estimate has to tell: a bit for money, a bit for carbon.
    counts: int = _derived(
        lambda self: self.money + 2 * (self.daily_carbon_ug is not None)
    )
    # The same with a number for no limit: requests are compared with these.
    most_streams: int = _derived(lambda self: _most(self.max_streams))
    most_daily: int = _derived(lambda self: _most(self.daily_nano))
    most_monthly: int = _derived(lambda self: _most(self.monthly_nano))
    most_carbon: int = _derived(lambda self: _most(self.daily_carbon_ug))
    # The rates as floats, 0 for no limit: what buckets are reckoned in.
    most_requests: float = _derived(lambda self: float(self.requests_per_minute or 0))
    most_tokens: float = _derived(lambda self: float(self.tokens_per_minute or 0))
    ms_per_request: float = _derived(lambda self: _ms_per(self.most_requests))
    ms_per_token: float = _derived(lambda self: _ms_per(self.most_tokens))
    # The lines of an answer's head up to what is left of them.
    told_requests: str = _derived(
        lambda self: _told("requests", self.requests_per_minute)
    )
    told_tokens: str = _derived(lambda self: _told("tokens", self.tokens_per_minute))


@attrs.frozen
class Estimate:
    """The most that a request may take."""

    tokens: int
    nano: int = 0
    carbon_ug: int = 0
    is_stream: bool = False
    # Of what it takes nothing, in the bits of `Limits.counts`: a budget that is used up is, for this one too.
    frees: int = _derived(lambda self: (not self.nano) + 2 * (not self.carbon_ug))


class Actual(NamedTuple):
    """What a request took."""

    tokens: int
    nano: int = 0
    carbon_ug: int = 0


# An `Actual`, or the plain tuple of its fields, which is made in an eighth of the time.
Took = tuple[int, int, int]

# What is left of the limits per minute: of requests, of tokens; 0 where there is no limit, below it a debt.
# A plain tuple, since it is made for each request of a key with limits.
Rates = tuple[Limits, float, float]


@attrs.define(init=False)
class Reservation:
    """What is held for one request until it is settled.

    Without an `__init__`: one is made for each request of a key with limits, and calling it would double that.
    """

    id: str
    key: str
    estimate: Estimate
    tokens: int  # taken from the rate: no more than the whole of it
    day: int  # whose windows it counts in
    month: int
    reserved_at: float
    rates: Rates
    balance_nano: int | None  # left of the budget before this request; None: no budget


@attrs.frozen
class Refusal:
    """Which limit, by the name of its option, a request would pass.

    `spent`, `reserved` (by requests under way), `asked` and `limit` are in the limit's own unit.
    """

    option: str
    limit: int
    spent: int
    reserved: int
    asked: int
    retry_after_s: float  # until it could pass, at the earliest
    resets_at: float  # when the whole limit is there again
    rates: Rates

    @property
    def waits(self) -> bool:
        """Whether only requests under way are in the way, which may take less than they reserved."""
        return self.spent + self.asked <= self.limit


class Spending(NamedTuple):
    """What a key has spent today and this month, and what is held for requests under way."""

    day_nano: int
    month_nano: int
    day_carbon_ug: int
    reserved_nano: int
    reserved_carbon_ug: int
    open: int
    streams: int
