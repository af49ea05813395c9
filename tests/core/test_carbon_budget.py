"""The price of a gram: bounded, never negative, and such that the budget is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowproxy.core.carbon_budget import (
    DAY_S,
    MOST_PRICE,
    RANGE,
    SLACK,
    STEP_S,
    CarbonBudget,
)

START = 1_000_000.0
# Pairs of a pause in seconds and grams.
DAYS = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 600), st.floats(0, 3 * DAY_S)),
        st.one_of(st.just(0.0), st.floats(0, 50)),
    ),
    max_size=60,
)


def within_a_day(history, now):
    """The grams of the last 24 hours, summed one by one: no more, and no less but for a step's edges."""
    inside = sum(grams for at, grams in history if now - DAY_S + STEP_S < at)
    around = sum(grams for at, grams in history if now - DAY_S - STEP_S <= at)
    return inside, around


# --- laws --------------------------------------------------------------------------------------


@given(DAYS)
def test_the_window_is_a_day(days):
    """What is older has left, what is younger is counted: as if each gram were remembered."""
    budget, now, history = CarbonBudget(100, START), START, []
    for pause_s, grams in days:
        now += pause_s
        budget.observe(grams, now)
        history.append((now, grams))
        least, most = within_a_day(history, now)
        assert least - 1e-6 <= budget.spent_g(now) <= most + 1e-6


@given(DAYS, st.floats(1e-3, 1e6), st.floats(0, 100))
def test_the_price_is_bounded_and_never_negative(days, g_per_day, most):
    """Whatever happens, however long nothing happens."""
    budget, now = CarbonBudget(g_per_day, START, most), START
    for pause_s, grams in days:
        now += pause_s
        assert 0 <= budget.price(now) <= most
        budget.observe(grams, now)
        assert 0 <= budget.price(now) <= most
        assert budget.spent_g(now) >= 0


@given(DAYS)
def test_nothing_is_admitted_once_it_is_spent(days):
    """And the reset is told to the point: just before it nothing, just after it something."""
    budget, now = CarbonBudget(60, START), START
    for pause_s, grams in days:
        now += pause_s
        budget.observe(grams, now)
        told = budget.exceeded(now)
        assert (told is not None) == (budget.spent_g(now) >= 60)
        if told is None:
            continue
        assert told.spent_g >= told.limit_g == 60
        assert 0 <= told.reset_s <= DAY_S + STEP_S
    told = budget.exceeded(now)
    if told is not None and told.reset_s > 2:
        assert budget.exceeded(now + told.reset_s - 1) is not None
        assert budget.exceeded(now + told.reset_s + 1) is None


@given(st.floats(0, 5), st.floats(0, 5), st.floats(0, 3600))
def test_who_takes_more_pays_no_less(one, other, pause_s):
    """The price is monotone in the grams."""
    prices = []
    for grams in sorted((one, other)):
        budget = CarbonBudget(100, START)
        budget.observe(1.0, START)
        budget.observe(grams, START + pause_s)
        prices.append(budget.price(START + pause_s))
    assert prices[0] <= prices[1]


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 0.05)), max_size=80))
def test_what_is_put_by_is_spent_at_once_and_moves_the_price_by_less_than_a_step(many):
    """Beside one that puts nothing by: the same grams, and a price that is one step of it away at most."""
    budget, exact, now = CarbonBudget(100, START), CarbonBudget(100, START), START
    exact._grain = -1.0
    step = RANGE ** (1 / 64)
    for pause_s, grams in many:
        now += pause_s
        budget.observe(grams, now)
        exact.observe(grams, now)
        assert budget.spent_g(now) == pytest.approx(exact.spent_g(now))
        price, other = (
            budget.price(now) * (RANGE - 1) + 1,
            exact.price(now) * (RANGE - 1) + 1,
        )
        assert other / step <= price * 1.000001 and price <= other * step * 1.000001


def test_a_clock_that_stands_still_or_goes_back_is_borne():
    """Nothing leaves the window, nothing breaks."""
    budget = CarbonBudget(100, START)
    budget.observe(1, START)
    budget.observe(1, START - 50)
    assert budget.spent_g(START - 50) == 2


# --- behaviour ---------------------------------------------------------------------------------


def test_the_price_rises_with_what_is_spent_too_soon_and_falls_again():
    """Nothing at first, the most at half an hour's debt, nothing after a pause."""
    budget = CarbonBudget(48, START)
    assert budget.price(START) == 0
    budget.observe(SLACK * 48 / 2, START)
    half = budget.price(START)
    budget.observe(SLACK * 48 / 2, START)
    assert 0 < half < budget.price(START) == MOST_PRICE
    assert budget.price(START + 3600) == 0


@pytest.mark.parametrize("g_per_day", [400, 700, 950])
def test_the_budget_is_kept_by_the_price_alone(g_per_day):
    """One request a minute, clean and dear or dirty and cheap: the price finds the share of each.

    All clean would be 144 g a day, all dirty 1440 g. Each caller has its own idea of what a gram is worth, as
    models and sizes of requests have; after two days the budget is met within 5 %.
    """
    budget, now = CarbonBudget(g_per_day, START), START
    worth = [MOST_PRICE * 10 ** (-4 * ((n * 37) % 101) / 101) for n in range(101)]
    for n in range(4 * 1440):
        now += 60
        is_clean = budget.price(now) > worth[n % 101]
        budget.observe(0.1 if is_clean else 1.0, now)
        if n > 2 * 1440:
            assert budget.spent_g(now) <= 1.02 * g_per_day
    assert budget.spent_g(now) >= 0.85 * g_per_day


def test_a_budget_that_is_not_needed_costs_nothing():
    """Day after day of a load with a peak, within the budget: after the first a gram is all but free."""
    budget, now = CarbonBudget(100, START), START
    for day in range(4):
        for minute in range(1440):
            now += 60
            budget.observe(0.10 if 480 <= minute < 1080 else 0.02, now)
            if day > 1:
                assert budget.price(now) < MOST_PRICE / 10_000
    assert budget.spent_g(now) < 100


# --- across restarts and edits ---------------------------------------------------------------


@given(st.lists(st.floats(0, 20), min_size=1, max_size=24))
def test_a_budget_resumes_with_the_hours_before(hourly_g):
    """They count, they leave the window in their turn, and the price stays in its bounds."""
    budget = CarbonBudget.resumed(100, START, MOST_PRICE, hourly_g)
    assert budget.spent_g(START) == pytest.approx(sum(hourly_g), abs=20 / 12)
    assert 0 <= budget.price(START) <= MOST_PRICE
    later = START + DAY_S - (len(hourly_g) - 1) * 3600 + STEP_S
    assert budget.spent_g(later) <= sum(hourly_g[1:]) + 1e-6
    assert budget.spent_g(START + DAY_S + STEP_S) == pytest.approx(0, abs=1e-9)


def test_an_edit_changes_the_limit_and_keeps_the_use():
    """Wider: there is room again; narrower: what is spent is spent."""
    budget = CarbonBudget(10, START)
    budget.observe(12, START)
    assert budget.exceeded(START) is not None
    wider = budget.edited(1000, MOST_PRICE)
    assert wider.exceeded(START) is None
    assert wider.spent_g(START) == 12
    assert wider.price(START) < budget.price(START)
    assert wider.edited(11, MOST_PRICE).exceeded(START) is not None
