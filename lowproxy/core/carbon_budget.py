"""A budget in grams for any 24 hours, and the price of a gram that keeps to it.

The price is a dual variable, moved by each answer: up by what it took beyond its share, down by what it left
(exponentiated gradient, as in online primal-dual allocation: GAR-PD, arXiv 2605.11603; the step is in the
logarithm, since what a gram must cost to matter spans orders of magnitude). Routing adds `price * grams` to
what each candidate costs, so that a budget which runs short steers before it is spent.

    share of an interval dt = what left the window in it + (budget - spent) * dt / 24 h
    debt  <- min(max(debt + grams - share, 0), SLACK * budget)
    price  = most * (RANGE^(debt / (SLACK * budget)) - 1) / (RANGE - 1)

A day like the one before leaves the price where it is: what is spent now is what leaves the window. Time is
an argument, in seconds of any clock that never goes back.

A request costs an addition and a comparison: what answers took is put by, and moves the debt together, once a
second or as soon as it is a quarter of a price's step. What is spent is known to the gram at any moment.
"""

from collections.abc import Sequence
from typing import Self

import attrs

DAY_S = 86_400.0
STEP_S = 300.0  # the window's resolution: what is older than a day leaves it evenly
_STEPS = int(DAY_S / STEP_S)
# The debt at which a gram costs the most, as a part of the budget: half an hour of it.
SLACK = 1 / 48
# The least price and the most are this far apart.
RANGE = 10_000.0
# The price moves in steps of 15 %, so that decisions can be remembered between them.
_LEVELS = 64
# How often time passes, in seconds: the price of a busy gateway is this old at most.
_LOOK_S = 1.0
# At most this much of a currency for a gram; a tonne on the market costs a ten-thousandth of that, which
# would steer nothing. The aim is the budget, not the market's price.
MOST_PRICE = 1.0


@attrs.frozen
class Spent:
    """A budget that is spent: what and of what, in grams, and the seconds until there is room again."""

    spent_g: float
    limit_g: float
    reset_s: float


class CarbonBudget:
    """Grams of the last 24 hours against `g_per_day`; `most_price` is per gram, in the prices' currency."""

    __slots__ = (
        "_at",
        "_cap",
        "_debt",
        "_due",
        "_grain",
        "_held",
        "_late",
        "_price",
        "_slot",
        "_steps",
        "g_per_day",
        "most_price",
    )

    def __init__(
        self, g_per_day: float, now: float, most_price: float = MOST_PRICE
    ) -> None:
        self.g_per_day = g_per_day
        self.most_price = most_price
        # One more than a day has: the oldest is on its way out while the newest fills.
        self._steps = [0.0] * (_STEPS + 1)
        self._slot = int(now // STEP_S)
        self._held = 0.0  # the sum of all steps
        self._debt = 0.0
        self._cap = SLACK * g_per_day  # of the debt
        self._at = now
        self._late = 0.0  # heard since then, and not in steps and debt yet
        self._grain = self._cap / _LEVELS / 4  # the most that is put by
        self._due = now  # when time passes again
        self._price = 0.0

    @classmethod
    def resumed(
        cls,
        g_per_day: float,
        now: float,
        most_price: float,
        hourly_g: Sequence[float],
    ) -> Self:
        """One that knows the grams of the hours before `now`, the oldest first."""
        hour_s = DAY_S / 24
        begin = now - len(hourly_g) * hour_s
        budget = cls(g_per_day, begin, most_price)
        for n, grams in enumerate(hourly_g):
            for step in range(int(hour_s / STEP_S)):
                at = begin + n * hour_s + (step + 0.5) * STEP_S
                budget.observe(grams * STEP_S / hour_s, at)
        budget.observe(0.0, now)
        return budget

    def edited(self, g_per_day: float, most_price: float) -> "CarbonBudget":
        """The same use under another limit."""
        self._fold()
        other = CarbonBudget(g_per_day, self._at, most_price)
        other._steps, other._held = list(self._steps), self._held
        other._debt = min(self._debt, other._cap)
        other._reprice()
        return other

    def observe(self, grams: float, now: float) -> None:
        """An answer took `grams`; 0 lets time pass."""
        if now >= self._due:
            self._pass(now, grams)
            return
        late = self._late = self._late + grams
        if late > self._grain:
            self._fold()
            self._reprice()

    def price(self, now: float) -> float:
        """What a gram costs now, in the prices' currency: from 0 to `most_price`."""
        if now >= self._due:
            self._pass(now)
        return self._price

    def spent_g(self, now: float) -> float:
        """Grams of the 24 hours before `now`."""
        now = max(now, self._at)
        self._lapse(now)
        return self._within(now) + self._late

    def exceeded(self, now: float) -> Spent | None:
        """What to tell a caller, where nothing is left of the budget."""
        now = max(now, self._at)
        spent = self.spent_g(now)
        if spent < self.g_per_day:
            return None
        self._fold()
        return Spent(spent, self.g_per_day, self._reset_s(now, spent))

    def _fold(self) -> None:
        """Counts what was put by, as if it had come at `_at`: it is of the same second and the same step."""
        late, self._late = self._late, 0.0
        self._debt = min(self._debt + late, self._cap)
        self._steps[self._slot % len(self._steps)] += late
        self._held += late

    def _pass(self, now: float, grams: float = 0.0) -> None:
        """Lets the time until `now` pass, and then counts `grams`."""
        self._fold()
        before = self._within(self._at)
        now = max(now, self._at)
        elapsed_s = now - self._at
        self._advance(now)
        spent = self._within(now)
        share = before - spent + max(self.g_per_day - spent, 0.0) * elapsed_s / DAY_S
        self._debt = min(max(self._debt + grams - share, 0.0), self._cap)
        self._steps[self._slot % len(self._steps)] += grams
        self._held += grams
        self._at = now
        self._due = min(now + _LOOK_S, (self._slot + 1) * STEP_S)
        self._reprice()

    def _reprice(self) -> None:
        if not self._debt:
            self._price = 0.0
            return
        level = round(self._debt / self._cap * _LEVELS) / _LEVELS
        price = self.most_price * (RANGE**level - 1) / (RANGE - 1)
        self._price = float(min(price, self.most_price))

    def _lapse(self, now: float) -> None:
        if int(now // STEP_S) > self._slot:
            self._pass(now)

    def _within(self, now: float) -> float:
        """The sum of the steps, without the part of the oldest that has left; `now` is in the newest."""
        steps = self._steps
        gone = min(max(now / STEP_S - self._slot, 0.0), 1.0)
        oldest = steps[(self._slot + 1) % len(steps)]
        return max(self._held - oldest * gone, 0.0)

    def _advance(self, now: float) -> None:
        slot = int(now // STEP_S)
        if slot <= self._slot:
            return
        steps = self._steps
        for each in range(self._slot + 1, min(slot, self._slot + len(steps)) + 1):
            steps[each % len(steps)] = 0.0
        self._slot = slot
        self._held = sum(steps)  # afresh: rounding errors do not add up

    def _reset_s(self, now: float, spent: float) -> float:
        """Seconds until enough has left the window, if nothing is added."""
        steps = self._steps
        excess = spent - self.g_per_day
        wait_s = 0.0
        left_s = (self._slot + 1) * STEP_S - now  # of the newest step
        part = min(max(left_s / STEP_S, 0.0), 1.0)
        for n in range(1, len(steps) + 1):
            grams = steps[(self._slot + n) % len(steps)]
            leaving, lasts_s = grams * part, STEP_S * part
            if leaving > excess:
                return wait_s + lasts_s * excess / leaving
            excess -= leaving
            wait_s += lasts_s
            part = 1.0
        return wait_s
