"""The count of what keys use, kept in one place for several gateways.

`reserve` is one round trip, shared with whoever asks at the same moment; `settle` is
sent later. While nobody answers, `open` counts in this process, from what was last
known of the key, and tells what was spent afterwards; `closed` refuses.
"""

import asyncio
from typing import Any

from lowproxy.core.access import ApiKey
from lowproxy.core.account import DAY_S, Account, month_of
from lowproxy.core.limits import (
    Estimate,
    Limits,
    Refusal,
    Reservation,
    Spending,
    Took,
)
from lowproxy.errors import StoreAwayError
from lowproxy.store.limiter import MemoryLimiter
from lowproxy.store.shared import Shared, SharedAwayError
from lowproxy.store.shared_scripts import BEGIN, CHARGE, FIELDS, LOOK, RESERVE, SETTLE


class SharedLimiter:
    """As `lowproxy.store.limiter.Limiter`."""

    def __init__(
        self, shared: Shared, *, fails_open: bool, local: MemoryLimiter | None = None
    ) -> None:
        self.shared, self._fails_open = shared, fails_open
        self._local = local or MemoryLimiter()
        self._locally: set[str] = set()  # reservations that only we know of
        self._known: dict[str, list[str]] = {}  # accounts as they were last
        self._seeded: set[str] = set()

    def begin(self, books: MemoryLimiter, now: float) -> None:
        """Accounts that the shared store does not have begin with what the books say."""
        for name, account in books.accounts():
            spent = account.spending(now)
            sums = (spent.day_nano, spent.day_carbon_ug, spent.month_nano)
            day = int(now // DAY_S)
            self.shared.post(BEGIN, self._names(name), (day, month_of(day), *sums))

    async def reserve(
        self, key: ApiKey, id: str, estimate: Estimate, now: float
    ) -> Reservation | Refusal:
        """As `Limiter`. Raises StoreAwayError where nobody answers and that is not to be passed over."""
        limits = key.limits
        assert limits is not None, "a key without limits is not counted"
        day = int(now // DAY_S)
        args = (id, self.shared.owner, repr(now), day, month_of(day))
        asked = (estimate.tokens, estimate.nano, estimate.carbon_ug)
        try:
            said = await self.shared.call(
                RESERVE,
                (*self._names(key.name), self.shared.name("alive")),
                (*args, *_limits(limits), *asked, int(estimate.is_stream)),
            )
        except SharedAwayError as away:
            if away.sent:  # it may have been reserved, and the answer was lost
                self.shared.post(SETTLE, self._names(key.name), (id, "", 0, 0))
            return await self._alone(key, id, estimate, now)
        except asyncio.CancelledError:  # its caller left: the answer finds nobody
            self.shared.post(SETTLE, self._names(key.name), (id, "", 0, 0))
            raise
        taken, tokens, *account = said
        self._known[key.name] = account
        self._seeded.discard(key.name)
        state = loaded(account)
        if taken == "1":
            held = Reservation()
            held.id, held.key, held.estimate = id, key.name, estimate
            held.tokens, held.reserved_at = round(float(tokens)), now
            held.day, held.month = state.day.number, state.month.number
            held.rates = state.rates(limits, now)
            held.balance_nano = state.balance_nano(limits)
            return held
        return state.refusal(limits, estimate, now)

    def settle(self, reservation: Reservation, actual: Took | None) -> None:
        """As `Limiter`."""
        names = self._names(reservation.key)
        if reservation.id in self._locally:
            self._locally.discard(reservation.id)
            self._local.settle(reservation, actual)
            if actual is not None:
                window = (reservation.day, reservation.month)
                mark = self.shared.name("charged", reservation.id)
                self.shared.post(CHARGE, (names[0], mark), (*actual, *window))
        elif actual is None:
            self.shared.post(SETTLE, names, (reservation.id, "", 0, 0))
        else:
            self.shared.post(SETTLE, names, (reservation.id, *actual))

    async def spending(self, key: ApiKey, now: float) -> Spending | None:
        """As `Limiter`; while nobody answers, what this process knows."""
        day = int(now // DAY_S)
        try:
            count, *account = await self.shared.call(
                LOOK, self._names(key.name), (day, month_of(day))
            )
        except SharedAwayError:
            return await self._local.spending(key, now)
        state = loaded(account)
        spending = state.spending(now)
        return spending._replace(open=round(float(count)))

    async def _alone(
        self, key: ApiKey, id: str, estimate: Estimate, now: float
    ) -> Reservation | Refusal:
        if not self._fails_open:
            raise StoreAwayError(
                "the shared store of limits does not answer, and shared.on_failure is"
                ' "closed"',
                retry_after_s=1,
            )
        if key.name not in self._seeded:
            self._seeded.add(key.name)
            self._resume(key.name)
        taken = await self._local.reserve(key, id, estimate, now)
        if isinstance(taken, Reservation):
            self._locally.add(id)
        return taken

    def _resume(self, name: str) -> None:
        """Goes on from what was spent when last heard of; what was reserved then is not ours to settle."""
        known = self._known.get(name)
        if known is None:
            return
        account, state = self._local.account(name), loaded(known)
        account.requests, account.tokens = state.requests, state.tokens
        for window in ("day", "month", "carbon"):
            mine, theirs = getattr(account, window), getattr(state, window)
            mine.load(theirs.number, theirs.spent, mine.reserved)

    def _names(self, key: str) -> tuple[str, str]:
        return self.shared.name("key", key), self.shared.name("open", key)


def loaded(fields: list[str]) -> Account:
    """An account as a script gave it back."""
    values: dict[str, Any] = {
        name: float(value) if value else None
        for name, value in zip(FIELDS, fields, strict=True)
    }
    account = Account()
    account.requests.load(values["rl"], values["ra"] or 0.0)
    account.tokens.load(values["tl"], values["ta"] or 0.0)
    account.streams = round(values["st"])
    for window, number, spent, reserved in (
        (account.day, "dn", "ds", "dr"),
        (account.month, "mn", "ms", "mr"),
        (account.carbon, "dn", "cs", "cr"),
    ):
        window.load(
            round(values[number]), round(values[spent]), round(values[reserved])
        )
    return account


def _limits(limits: Limits) -> tuple[int | str, ...]:
    each = (
        limits.requests_per_minute,
        limits.tokens_per_minute,
        limits.max_streams,
        limits.daily_nano,
        limits.monthly_nano,
        limits.daily_carbon_ug,
    )
    return tuple("" if limit is None else limit for limit in each)
