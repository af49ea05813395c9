"""Carbon budgets of a running gateway: whose there are, what is asked of them, what they are told."""

import time
from collections.abc import Callable, Iterable, Sequence

from lowproxy.config import CarbonBudgetRow, Config
from lowproxy.core.access import ApiKey
from lowproxy.core.carbon_budget import CarbonBudget
from lowproxy.errors import BudgetSpentError
from lowproxy.metrics import Metrics

GATEWAY = "gateway"
UG_PER_G = 1_000_000


class CarbonBudgets:
    """The gateway's own, and one for each key with `daily_carbon_g`, which steers before its limit refuses.

    `hourly_g` is what the gateway took in the hours before, the oldest first; keys' own begin with nothing.
    Keys' limits themselves are `core.account`'s.
    """

    def __init__(
        self,
        row: CarbonBudgetRow,
        clock: Callable[[], float],
        hourly_g: Sequence[float] = (),
    ) -> None:
        self._most_price = row.most_price
        self._hard = row.mode == "hard"
        self._clock = clock
        self._gateway = (
            CarbonBudget.resumed(row.g_per_day, clock(), row.most_price, hourly_g)
            if row.g_per_day is not None
            else None
        )
        self._keys: dict[str, CarbonBudget] = {}

    def edited(self, row: CarbonBudgetRow) -> "CarbonBudgets":
        """The same use under the configuration as it is now."""
        other = CarbonBudgets(row, self._clock)
        if self._gateway is not None and row.g_per_day is not None:
            other._gateway = self._gateway.edited(row.g_per_day, row.most_price)
        other._keys = self._keys
        return other

    def admit(self, key: ApiKey, now: float) -> float:
        """The price of a gram for this key's request; O(1).

        Raises BudgetSpentError where the gateway's budget is hard and spent.
        """
        gateway = self._gateway
        if gateway is not None:
            if self._hard and (told := gateway.exceeded(now)) is not None:
                raise BudgetSpentError(
                    f"the gateway's carbon budget is spent: {told.spent_g:.4g} g of CO2 equivalent in 24 hours,"
                    f" carbon_budget.g_per_day is {told.limit_g:g}; it has room again in {told.reset_s:.0f} s",
                    retry_after_s=told.reset_s,
                )
            return self.price(key, now)
        own = self._keys.get(key.name) if key.limits is not None else None
        return 0.0 if own is None else own.price(now)

    def price(self, key: ApiKey, now: float) -> float:
        """What a gram costs this key's requests: the dearer of the gateway's price and the key's own."""
        price = 0.0 if self._gateway is None else self._gateway.price(now)
        own = self._keys.get(key.name) if key.limits is not None else None
        return price if own is None else max(price, own.price(now))

    def took(self, key: ApiKey | None, grams: float, now: float) -> None:
        """An answer for this key took `grams`, failed attempts included."""
        if self._gateway is not None:
            self._gateway.observe(grams, now)
        limits = None if key is None else key.limits
        if key is None or limits is None or limits.daily_carbon_ug is None:
            return
        own = self._keys.get(key.name)
        if own is None or own.g_per_day != limits.daily_carbon_ug / UG_PER_G:
            own = self._opened(key, limits.daily_carbon_ug / UG_PER_G, now)
        if own is not None:
            own.observe(grams, now)

    def _opened(self, key: ApiKey, g_per_day: float, now: float) -> CarbonBudget | None:
        """A new key's, or one for another limit."""
        if g_per_day <= 0:
            return None  # nothing is admitted, so there is nothing to steer
        own = self._keys[key.name] = CarbonBudget(g_per_day, now, self._most_price)
        return own

    def readings(self) -> Iterable[tuple[str, float, float]]:
        """Scope (`gateway`, or `key:` and its name), grams of 24 hours, price of a gram: for metrics."""
        now = self._clock()
        if self._gateway is not None:
            yield GATEWAY, self._gateway.spent_g(now), self._gateway.price(now)
        for name, own in self._keys.items():
            yield f"key:{name}", own.spent_g(now), own.price(now)


def carbon_budgets(
    config: Config,
    metrics: Metrics,
    hourly_g: Sequence[float] = (),
    before: CarbonBudgets | None = None,
    stored: Iterable[ApiKey] = (),
) -> CarbonBudgets | None:
    """None where nobody has a budget: then a request pays one test for it.

    `before`: those that a reload replaces. `stored`: the keys of the store.
    """
    keys = (*config.keys, *stored)
    limits = [key.limits for key in keys if key.limits is not None]
    is_limited = any(each.daily_carbon_ug is not None for each in limits)
    if config.carbon_budget.g_per_day is None and not is_limited:
        return None
    if before is not None:
        budgets = before.edited(config.carbon_budget)
    else:
        budgets = CarbonBudgets(config.carbon_budget, time.monotonic, hourly_g)
    metrics.hooks.carbon = budgets.readings
    return budgets
