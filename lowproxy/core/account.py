"""One key's use, counted against its limits: pure machines. Time is an argument, in epoch seconds.

A request reserves the most that it may take before anybody is asked, and settles what it took afterwards:
what is spent and reserved together never passes a limit, however many requests are under way. Days and
months are UTC's.
"""

import datetime
from math import ceil

from lowproxy.core.limits import (
    MINUTE_S,
    Actual,
    Estimate,
    Limits,
    Rates,
    Refusal,
    Reservation,
    Spending,
    Took,
)
from lowproxy.core.meters import Bucket, Window

DAY_S = 86_400
# Requests under way end in seconds, not in minutes: when to ask again where only they are in the way.
WAIT_S = 1.0
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_NOTHING = Actual(0)


class Account:
    """One key's use, kept against the limits that come with each request: an edit holds from the next one."""

    __slots__ = (
        "_next_day_at",
        "carbon",
        "day",
        "month",
        "open",
        "requests",
        "streams",
        "tokens",
    )

    def __init__(self) -> None:
        self.requests = Bucket()
        self.tokens = Bucket()
        self.streams = 0
        self.day = Window()  # money
        self.month = Window()  # money
        self.carbon = Window()  # of the day
        self.open: dict[str, Reservation] = {}  # the oldest first
        self._next_day_at = 0.0

    def reserve(
        self, key: str, id: str, limits: Limits, estimate: Estimate, now: float
    ) -> Reservation | Refusal:
        """Takes all that the estimate says, or nothing. On the way of each request: one look at each limit."""
        if now >= self._next_day_at:
            self.roll(now)
        asked, nano, is_stream = estimate.tokens, estimate.nano, estimate.is_stream
        left = tokens_left = past_s = tokens_past_s = 0.0
        requests, tokens = self.requests, self.tokens
        # Twice `Bucket.level`, written out, and nothing kept yet: a call for each is a third of all this.
        if limits.requests_per_minute is not None:
            left, past_s = requests.left, now - requests.at
            if past_s > 0.0:
                left += past_s * limits.most_requests / MINUTE_S
            if left > limits.most_requests:  # noqa: PLR1730 - as in `Bucket.level`
                left = limits.most_requests
            left -= 1.0
        if limits.tokens_per_minute is None:
            asked = 0
        else:
            # Never more than a full bucket: what is larger waits for one, and settles as a debt.
            if asked > limits.tokens_per_minute:  # noqa: PLR1730 - as in `Bucket.level`
                asked = limits.tokens_per_minute
            tokens_left, tokens_past_s = tokens.left, now - tokens.at
            if tokens_past_s > 0.0:
                tokens_left += tokens_past_s * limits.most_tokens / MINUTE_S
            if tokens_left > limits.most_tokens:  # noqa: PLR1730 - as in `Bucket.level`
                tokens_left = limits.most_tokens
            tokens_left -= asked
        day, month, carbon = self.day, self.month, self.carbon
        today, in_month = day.taken + nano, month.taken + nano
        grams = carbon.taken + estimate.carbon_ug
        if (
            left < 0.0
            or tokens_left < 0.0
            or today > limits.most_daily
            or in_month > limits.most_monthly
            or grams > limits.most_carbon
            or (is_stream and self.streams >= limits.most_streams)
            or (estimate.frees & limits.counts and self._is_spent(limits, estimate))
        ):
            return self.refusal(limits, estimate, now)
        if limits.requests_per_minute is not None:
            requests.left = left
            if past_s > 0.0:
                requests.at = now
        if limits.tokens_per_minute is not None:
            tokens.left = tokens_left
            if tokens_past_s > 0.0:
                tokens.at = now
        if is_stream:
            self.streams += 1
        day.taken, month.taken, carbon.taken = today, in_month, grams
        balance = None
        if limits.money:  # as `balance_nano`
            balance = limits.most_daily - day.spent
            later = limits.most_monthly - month.spent
            if later < balance:  # noqa: PLR1730 - min costs three times this, for each request
                balance = later
        held = self.open[id] = Reservation()
        held.id = id
        held.key = key
        held.estimate = estimate
        held.tokens = asked
        held.day = day.number
        held.month = month.number
        held.reserved_at = now
        held.rates = (limits, left, tokens_left)
        held.balance_nano = balance
        return held

    def _is_spent(self, limits: Limits, estimate: Estimate) -> bool:
        """Whether nothing is left of a budget that the request would take nothing of, as `Window.passes`."""
        return (
            self.day.passes(limits.daily_nano, estimate.nano)
            or self.month.passes(limits.monthly_nano, estimate.nano)
            or self.carbon.passes(limits.daily_carbon_ug, estimate.carbon_ug)
        )

    def settle(self, held: Reservation, actual: Took | None) -> None:
        """Puts what a request took in place of what it reserved; None: nobody was asked, it never was.

        A reservation that is not open (settled, or lapsed) changes nothing.
        """
        if self.open.pop(held.id, None) is None:
            return
        estimate = held.estimate
        if estimate.is_stream:
            self.streams -= 1
        if actual is None:
            self.requests.left += 1
            actual = _NOTHING
        tokens, nano, carbon_ug = actual
        self.tokens.left -= tokens - held.tokens
        day, month, most_nano = self.day, self.month, estimate.nano
        if held.day == day.number:
            day.spent += nano
            day.taken += nano - most_nano
            carbon = self.carbon
            carbon.spent += carbon_ug
            carbon.taken += carbon_ug - estimate.carbon_ug
        if held.month == month.number:
            month.spent += nano
            month.taken += nano - most_nano

    def lapse(self, before: float) -> int:
        """Gives up reservations made before then, whose owner is gone; how many.

        Nobody knows what they took: the estimate counts as spent, so that no budget is passed.
        """
        lapsed = [each for each in self.open.values() if each.reserved_at < before]
        for each in lapsed:
            estimate = each.estimate
            taken = Actual(each.tokens, estimate.nano, estimate.carbon_ug)
            self.settle(each, taken)
        return len(lapsed)

    def charge(self, now: float, day: Actual, month: Actual) -> None:
        """Counts what the books say was spent before this process began."""
        self.roll(now)
        self.day.spend(day.nano)
        self.month.spend(month.nano)
        self.carbon.spend(day.carbon_ug)

    def spending(self, now: float) -> Spending:
        """For people: what was spent, what is held."""
        self.roll(now)
        return Spending(
            self.day.spent,
            self.month.spent,
            self.carbon.spent,
            self.day.reserved,
            self.carbon.reserved,
            len(self.open),
            self.streams,
        )

    def balance_nano(self, limits: Limits) -> int | None:
        """What is left of the narrower budget, requests under way not counted; None: no budget."""
        if not limits.money:
            return None
        today = limits.most_daily - self.day.spent
        return min(today, limits.most_monthly - self.month.spent)

    def roll(self, now: float) -> None:
        """Begins the day and the month of `now`."""
        if now < self._next_day_at:
            return
        day = int(now // DAY_S)
        self._next_day_at = (day + 1) * float(DAY_S)
        self.day.begin(day)
        self.carbon.begin(day)
        self.month.begin(month_of(day))

    def rates(self, limits: Limits, now: float) -> Rates:
        """What is left of the limits per minute."""
        per_minute, tokens = limits.requests_per_minute, limits.tokens_per_minute
        left = tokens_left = 0.0
        if per_minute is not None:
            left = self.requests.level(per_minute, now)
        if tokens is not None:
            tokens_left = self.tokens.level(tokens, now)
        return limits, left, tokens_left

    def refusal(self, limits: Limits, estimate: Estimate, now: float) -> Refusal:
        """The first limit that a request passes which passes one; those that are over soonest come first."""
        most = limits.max_streams
        if most is not None and estimate.is_stream and self.streams >= most:
            return self._refused(limits, now, "max_streams", most, 0, self.streams, 1)
        most = limits.requests_per_minute
        if most is not None:
            level = self.requests.level(most, now)
            if level < 1:
                return self._too_fast(limits, now, "requests_per_minute", level, 1)
        most = limits.tokens_per_minute
        if most is not None:
            asked = min(estimate.tokens, most)
            level = self.tokens.level(most, now)
            if level < asked:
                return self._too_fast(limits, now, "tokens_per_minute", level, asked)
        refusal = (
            self._over(limits, now, "daily_limit", estimate.nano)
            or self._over(limits, now, "monthly_limit", estimate.nano)
            or self._over(limits, now, "daily_carbon_g", estimate.carbon_ug)
        )
        assert refusal is not None, "one of the limits was seen to be passed"
        return refusal

    def _over(
        self, limits: Limits, now: float, option: str, asked: int
    ) -> Refusal | None:
        if option == "daily_limit":
            limit, window = limits.daily_nano, self.day
        elif option == "monthly_limit":
            limit, window = limits.monthly_nano, self.month
        else:
            limit, window = limits.daily_carbon_ug, self.carbon
        if limit is None or not window.passes(limit, asked):
            return None
        return self._refused(
            limits, now, option, limit, window.spent, window.reserved, asked
        )

    def _too_fast(
        self, limits: Limits, now: float, option: str, level: float, asked: int
    ) -> Refusal:
        most = getattr(limits, option)
        refill_s = (asked - level) * MINUTE_S / most
        return Refusal(
            option=option,
            limit=most,
            spent=ceil(most - level),
            reserved=0,
            asked=asked,
            retry_after_s=refill_s,
            resets_at=now + (most - level) * MINUTE_S / most,
            rates=self.rates(limits, now),
        )

    def _refused(
        self,
        limits: Limits,
        now: float,
        option: str,
        limit: int,
        spent: int,
        reserved: int,
        asked: int,
    ) -> Refusal:
        """Something that is not a rate: it is there again when the window ends, or a request."""
        resets_at = now + WAIT_S
        if option != "max_streams":
            day = self.day.number
            last = month_end(day) if option == "monthly_limit" else day
            resets_at = (last + 1) * float(DAY_S)
        waits = spent + asked <= limit
        return Refusal(
            option=option,
            limit=limit,
            spent=spent,
            reserved=reserved,
            asked=asked,
            retry_after_s=WAIT_S if waits else resets_at - now,
            resets_at=resets_at,
            rates=self.rates(limits, now),
        )


def month_of(day: int) -> int:
    """The month of a day counted from the epoch, as one number that grows."""
    date = datetime.date.fromordinal(_EPOCH_DAY + day)
    return date.year * 12 + date.month - 1


def month_begin(day: int) -> int:
    """The first day of that day's month; days are counted from the epoch."""
    date = datetime.date.fromordinal(_EPOCH_DAY + day)
    return date.replace(day=1).toordinal() - _EPOCH_DAY


def month_end(day: int) -> int:
    """The last day of that day's month; days are counted from the epoch."""
    date = datetime.date.fromordinal(_EPOCH_DAY + day)
    later = date.replace(day=28) + datetime.timedelta(days=4)
    return later.replace(day=1).toordinal() - 1 - _EPOCH_DAY
