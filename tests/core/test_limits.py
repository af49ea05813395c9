"""Values of limits."""

import pytest

from lowproxy.core.limits import Limits


@pytest.mark.parametrize(
    ("limits", "money"),
    [
        (Limits(), False),
        (Limits(1, 1, 1, daily_carbon_ug=1), False),
        (Limits(daily_nano=0), True),
        (Limits(monthly_nano=1), True),
    ],
)
def test_a_budget_of_nothing_is_a_budget(limits, money):
    """Whether prices have to be known depends on money alone."""
    assert limits.money is money
