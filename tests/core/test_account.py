"""Limits hold under every order of requests, cancels and crashes."""

import copy
import datetime
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.account import DAY_S, Account, month_end, month_of
from lowproxy.core.limits import Actual, Estimate, Limits, Refusal, Reservation

IDS = itertools.count()
NOW = datetime.datetime(2026, 3, 30, 12, tzinfo=datetime.UTC).timestamp()
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 40), st.booleans()),
        st.tuples(st.just("settle"), st.integers(0, 99), st.integers(0, 100)),
        st.tuples(st.just("cancel"), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 2 * DAY_S), st.just(0)),
        st.tuples(st.just("twice"), st.integers(0, 99), st.just(0)),
    ),
    max_size=60,
)


def reserve(account, limits, nano=0, tokens=0, now=NOW, stream=False, grams=0):
    estimate = Estimate(tokens, nano, grams, stream)
    return account.reserve("k", f"r{next(IDS)}", limits, estimate, now)


@given(steps=STEPS, daily=st.integers(0, 100), monthly=st.integers(0, 200))
def test_no_order_of_things_passes_a_budget_or_leaves_a_reservation(
    steps, daily, monthly
):
    """Whatever is asked, settled, cancelled, settled twice or left behind by a crash.

    What a crashed request took is known to the test alone, and is at most its estimate.
    """
    limits = Limits(daily_nano=daily, monthly_nano=monthly, max_streams=3)
    account, now = Account(), NOW
    open_, crashed, done = [], [], []
    truth: dict[int, int] = {}  # by day

    def spend(taken, amount):
        truth[taken.day] = truth.get(taken.day, 0) + amount

    for what, number, more in steps:
        if what == "reserve":
            taken = reserve(account, limits, nano=number, now=now, stream=more)
            if isinstance(taken, Reservation):
                open_.append(taken)
        elif what == "wait":
            now += number
        elif open_:
            taken = open_.pop(number % len(open_))
            if what == "crash":
                spend(taken, taken.estimate.nano)
                crashed.append(taken)
            elif what == "cancel":
                account.settle(taken, None)
            else:
                actual = taken.estimate.nano * more // 100
                spend(taken, actual)
                account.settle(taken, Actual(0, actual))
                done.append(taken)
            if what == "twice":
                account.settle(taken, Actual(0, 10**6))
        spent = account.spending(now)
        assert spent.day_nano + spent.reserved_nano <= daily
        assert account.month.spent + account.month.reserved <= monthly
        assert 0 <= spent.streams <= 3
    assert all(amount <= daily for amount in truth.values())
    months: dict[int, int] = {}
    for day, amount in truth.items():
        months[month_of(day)] = months.get(month_of(day), 0) + amount
    assert all(amount <= monthly for amount in months.values())
    for taken in open_:
        account.settle(taken, None)
    assert account.lapse(now + 1) == len(crashed)
    assert not account.open
    last = account.spending(now)
    assert (last.reserved_nano, last.streams, last.open) == (0, 0, 0)
    assert account.month.reserved == 0
    assert last.day_nano == truth.get(account.day.number, 0)


@given(
    limit=st.integers(1, 500),
    gaps=st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=200),
)
def test_a_minute_never_lets_more_through_than_its_limit_and_what_came_back(
    limit, gaps
):
    """A full bucket, and what is filled again evenly since: no more."""
    account, limits, now, passed = Account(), Limits(requests_per_minute=limit), NOW, 0
    for gap in gaps:
        now += gap
        passed += isinstance(reserve(account, limits, now=now), Reservation)
        assert passed <= limit + (now - NOW) * limit / 60 + 1e-3


def test_at_one_moment_exactly_the_limit_passes():
    """Not one more for want of a digit, not one less."""
    account, limits = Account(), Limits(requests_per_minute=60)
    taken = [reserve(account, limits) for _ in range(61)]
    assert [type(each) for each in taken] == [Reservation] * 60 + [Refusal]
    refusal = taken[-1]
    assert refusal.option == "requests_per_minute"
    assert refusal.spent == 60
    assert reserve(account, limits, now=NOW + 0.5).spent == 60  # in part: as used
    assert refusal.retry_after_s == pytest.approx(1.0)
    assert refusal.resets_at == pytest.approx(NOW + 60)
    assert taken[0].rates == (limits, 59, 0)
    assert isinstance(reserve(account, limits, now=NOW + 1), Reservation)


def test_tokens_are_settled_by_what_was_used():
    """What was not used is back at once; what was used beyond the estimate is a debt."""
    account, limits = Account(), Limits(tokens_per_minute=1000)
    first = reserve(account, limits, tokens=900)
    assert first.rates[2] == 100
    assert isinstance(reserve(account, limits, tokens=200), Refusal)
    account.settle(first, Actual(50))
    second = reserve(account, limits, tokens=950)
    assert second.rates[2] == 0
    account.settle(second, Actual(1950))
    refusal = reserve(account, limits, tokens=1)
    assert refusal.retry_after_s == pytest.approx(1001 * 60 / 1000)
    assert refusal.rates[2] == -1000


def test_a_request_larger_than_the_rate_waits_for_a_full_bucket():
    """It is not refused for ever: the rate bounds what is used, not how long one answer may be."""
    account, limits = Account(), Limits(tokens_per_minute=1000)
    assert isinstance(reserve(account, limits, tokens=128_000), Reservation)
    assert isinstance(reserve(account, limits, tokens=1), Refusal)


def test_streams_are_counted_while_they_last():
    """A unary request is none of them."""
    account, limits = Account(), Limits(max_streams=1)
    first = reserve(account, limits, stream=True)
    refusal = reserve(account, limits, stream=True)
    assert (refusal.option, refusal.limit) == ("max_streams", 1)
    assert isinstance(reserve(account, limits), Reservation)
    account.settle(first, Actual(0))
    assert isinstance(reserve(account, limits, stream=True), Reservation)


def test_a_request_that_never_was_gives_everything_back():
    """Its place in the minute, its tokens, its money, its grams, its stream."""
    limits = Limits(1, 100, 1, 100, 100, 100)
    account = Account()
    for _ in range(3):
        taken = reserve(account, limits, 100, 100, stream=True, grams=100)
        assert isinstance(taken, Reservation)
        account.settle(taken, None)


@pytest.mark.parametrize(
    ("limits", "option", "resets"),
    [
        (Limits(daily_nano=10), "daily_limit", "2026-03-31"),
        (Limits(monthly_nano=10), "monthly_limit", "2026-04-01"),
        (Limits(daily_carbon_ug=10), "daily_carbon_g", "2026-03-31"),
    ],
)
def test_a_spent_budget_says_what_and_until_when(limits, option, resets):
    """Spent, reserved, asked, the limit, and the moment of the next window."""
    account = Account()
    account.settle(reserve(account, limits, 8, grams=8), Actual(0, 7, 7))
    held = reserve(account, limits, 2, grams=2)
    refusal = reserve(account, limits, 3, grams=3)
    assert (refusal.option, refusal.limit) == (option, 10)
    assert (refusal.spent, refusal.reserved, refusal.asked) == (7, 2, 3)
    moment = datetime.datetime.fromtimestamp(refusal.resets_at, datetime.UTC)
    assert moment.isoformat() == f"{resets}T00:00:00+00:00"
    assert refusal.waits
    assert refusal.retry_after_s == 1
    account.settle(held, Actual(0, 2, 2))
    refusal = reserve(account, limits, 3, grams=3)
    assert not refusal.waits
    assert refusal.retry_after_s == refusal.resets_at - NOW
    assert isinstance(
        reserve(account, limits, 3, grams=3, now=refusal.resets_at), Reservation
    )


def test_what_costs_nothing_does_not_pass_a_spent_budget():
    """A budget that is used up is used up."""
    account, limits = Account(), Limits(daily_nano=5)
    account.settle(reserve(account, limits, 5), Actual(0, 5))
    assert isinstance(reserve(account, limits, 0), Refusal)


def test_an_answer_of_tomorrow_counts_in_the_day_it_was_allowed():
    """Its reservation is not carried over, and its cost does not burden the new day."""
    account, limits = Account(), Limits(daily_nano=10)
    taken = reserve(account, limits, 10)
    assert isinstance(reserve(account, limits, 10, now=NOW + DAY_S), Reservation)
    account.settle(taken, Actual(0, 10))
    spent = account.spending(NOW + DAY_S)
    assert (spent.day_nano, spent.reserved_nano) == (0, 10)


def test_a_clock_set_back_fills_nothing():
    """Neither a bucket nor a day."""
    account, limits = Account(), Limits(requests_per_minute=1, daily_nano=10)
    account.settle(reserve(account, limits, 10), Actual(0, 10))
    assert isinstance(reserve(account, limits, now=NOW - 3 * DAY_S), Refusal)
    assert account.spending(NOW - 3 * DAY_S).day_nano == 10


def test_an_edited_limit_holds_from_the_next_request():
    """What was spent before stays spent."""
    account = Account()
    account.settle(reserve(account, Limits(daily_nano=10), 8), Actual(0, 8))
    assert isinstance(reserve(account, Limits(daily_nano=9), 2), Refusal)
    assert isinstance(reserve(account, Limits(daily_nano=20), 12), Reservation)


def test_what_the_books_say_counts():
    """A process that begins anew does not begin with a whole budget."""
    account, limits = Account(), Limits(daily_nano=10, monthly_nano=100)
    account.charge(NOW, Actual(0, 4, 2), Actual(0, 95))
    assert account.balance_nano(limits) == 5
    assert isinstance(reserve(account, limits, 6), Refusal)
    assert account.balance_nano(Limits()) is None


@pytest.mark.parametrize("year", [2023, 2024, 2026])
def test_months_end_where_the_calendar_says(year):
    """Every day of a year, a leap year too."""
    day = datetime.date(year, 1, 1)
    while day.year == year:
        number = day.toordinal() - datetime.date(1970, 1, 1).toordinal()
        end = datetime.date(1970, 1, 1) + datetime.timedelta(days=month_end(number))
        assert end.month == day.month
        assert (end + datetime.timedelta(days=1)).day == 1
        assert month_of(number) == day.year * 12 + day.month - 1
        day += datetime.timedelta(days=1)


# Few, so that budgets are met exactly.
AMOUNTS = st.sampled_from([0, 0, 10, 20, 30, 60])
LIMITS = st.builds(
    Limits,
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 60),
    st.none() | st.integers(0, 2),
    st.none() | AMOUNTS,
    st.none() | AMOUNTS,
    st.none() | AMOUNTS,
)


@given(
    limits=st.lists(LIMITS, min_size=1, max_size=3),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.25, 7.5, 40.0, -3.0, 90_000.0]),
            st.sampled_from(["reserve", "reserve", "settle", "never"]),
            st.integers(0, 99),
            AMOUNTS,
            AMOUNTS,
            st.booleans(),
        ),
        max_size=40,
    ),
)
def test_a_request_passes_where_no_limit_says_otherwise(limits, steps):
    """Each limit asked by itself says what all of them say together, whatever was asked, settled and edited."""
    account, now = Account(), NOW
    open_: list[Reservation] = []
    for number, (gap_s, what, tokens, nano, grams, is_stream) in enumerate(steps):
        now += gap_s
        if what != "reserve":
            if open_:
                took = Actual(tokens, nano, grams)
                held = open_.pop(tokens % len(open_))
                account.settle(held, None if what == "never" else took)
            continue
        limit = limits[number % len(limits)]
        account.roll(now)
        # Of a copy: to look at a bucket changes what is kept of it.
        _, left, tokens_left = copy.deepcopy(account).rates(limit, now)
        before = account.spending(now), account.month.taken
        asked = min(tokens, limit.tokens_per_minute or 0)
        says_no = [
            limit.requests_per_minute is not None and left < 1,
            limit.tokens_per_minute is not None and tokens_left < asked,
            limit.max_streams is not None
            and is_stream
            and account.streams >= limit.max_streams,
            account.day.passes(limit.daily_nano, nano),
            account.month.passes(limit.monthly_nano, nano),
            account.carbon.passes(limit.daily_carbon_ug, grams),
        ]

        taken = reserve(account, limit, nano, tokens, now, is_stream, grams)

        assert isinstance(taken, Refusal) == any(says_no)
        if isinstance(taken, Refusal):
            assert (account.spending(now), account.month.taken) == before
            assert account.rates(limit, now) == (limit, left, tokens_left)
            continue
        open_.append(taken)
        spent = account.spending(now)
        assert spent.reserved_nano == before[0].reserved_nano + nano
        assert spent.reserved_carbon_ug == before[0].reserved_carbon_ug + grams
        assert spent.streams == before[0].streams + is_stream
        assert account.month.taken == before[1] + nano
        left_now = copy.deepcopy(account).rates(limit, now)
        assert taken.rates == left_now
        assert left_now[1] == (left - 1 if limit.requests_per_minute else 0)
        assert left_now[2] == (tokens_left - asked if limit.tokens_per_minute else 0)
