"""What a stream and an event cost, in counts that do not depend on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.counts import BUDGETS, SYSTEM_CALLS

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "counts.py"


@pytest.fixture(scope="module")
def found():
    """Every count, taken in a process that nobody else measures or traces."""
    command = [sys.executable, str(SCRIPT), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", BUDGETS)
def test_counts_are_within_their_budgets(found, name):
    """A change that makes an event, a stream or a request dearer is seen here first."""
    if name == SYSTEM_CALLS and name not in found:
        pytest.skip("strace is not installed or may not attach")

    assert found[name] <= BUDGETS[name].most, BUDGETS[name].why


def test_every_count_has_a_budget(found):
    """Nothing is counted that nobody looks at."""
    assert {*found, SYSTEM_CALLS} == set(BUDGETS)
