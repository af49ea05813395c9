"""What a stream and an event cost, in counts that do not depend on the machine."""

import pytest

from benchmarks.counts import BUDGETS, in_process, system_calls
from benchmarks.load.process import find

SYSTEM_CALLS = "system calls per event"


@pytest.fixture(scope="module")
def found():
    """Every count but the system calls, taken once."""
    return in_process()[0]


@pytest.mark.parametrize("name", [name for name in BUDGETS if name != SYSTEM_CALLS])
def test_counts_are_within_their_budgets(found, name):
    """A change that makes an event, a stream or a request dearer is seen here first."""
    assert found[name] <= BUDGETS[name].most, BUDGETS[name].why


def test_every_count_has_a_budget(found):
    """Nothing is counted that nobody looks at."""
    assert {*found, SYSTEM_CALLS} == set(BUDGETS)


@pytest.mark.skipif(
    not all(map(find, ("strace", "cc", "taskset"))),
    reason="needs strace, cc and taskset",
)
def test_system_calls_are_within_their_budget():
    """One read and one write for each event, also in the real process."""
    calls = system_calls()
    if calls is None:
        pytest.skip("strace may not attach here")

    assert calls <= BUDGETS[SYSTEM_CALLS].most
