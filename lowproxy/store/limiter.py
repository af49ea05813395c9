"""Who keeps count of what keys use: the interface, and the count in this process's memory.

A request calls `reserve` before anybody is asked and `settle` when it has been written down, whatever became
of it. Where several processes share a count, `reserve` is at most one round trip and `settle` waits for none.
"""

from collections.abc import Iterable
from typing import Protocol

from lowproxy.core.access import ApiKey
from lowproxy.core.account import Account
from lowproxy.core.limits import Estimate, Refusal, Reservation, Spending, Took

# No request takes as long: what is open then was left behind.
LEASE_S = 86_400.0


class Limiter(Protocol):
    """Counts for all keys with limits. `key.limits` is not None; `now` is in epoch seconds."""

    async def reserve(
        self, key: ApiKey, id: str, estimate: Estimate, now: float
    ) -> Reservation | Refusal:
        """Takes what the estimate says, under an id of the request's own, or says which limit forbids it."""

    def settle(self, reservation: Reservation, actual: Took | None) -> None:
        """What the request took; None: nobody was asked for anything. Without waiting."""

    async def spending(self, key: ApiKey, now: float) -> Spending | None:
        """What a key has used; None where nobody has counted."""


class MemoryLimiter:
    """The count of one process, exact as long as it runs."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    async def reserve(
        self, key: ApiKey, id: str, estimate: Estimate, now: float
    ) -> Reservation | Refusal:
        """Takes what the estimate says, or says which limit forbids it."""
        return self.take(key, id, estimate, now)

    def take(
        self, key: ApiKey, id: str, estimate: Estimate, now: float
    ) -> Reservation | Refusal:
        """`reserve`, at once."""
        limits = key.limits
        assert limits is not None, "a key without limits is not counted"
        account = self._accounts.get(key.name)
        if account is None:
            account = self.account(key.name)
        taken = account.reserve(key.name, id, limits, estimate, now)
        if type(taken) is Refusal and account.lapse(now - LEASE_S):
            taken = account.reserve(key.name, id, limits, estimate, now)
        return taken

    def settle(self, reservation: Reservation, actual: Took | None) -> None:
        """What the request took."""
        self._accounts[reservation.key].settle(reservation, actual)

    async def spending(self, key: ApiKey, now: float) -> Spending | None:
        """What a key has used since the process began, and what the books told it then."""
        return self.account(key.name).spending(now)

    def accounts(self) -> Iterable[tuple[str, Account]]:
        """All that have been opened."""
        return self._accounts.items()

    def account(self, name: str) -> Account:
        """The account of a key, opened where there is none."""
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account()
        return account
