"""What a sidecar costs its pod stays within its bounds."""

import json
import subprocess
import sys

import pytest

from benchmarks.footprint import BOUNDS
from benchmarks.load.process import ROOT

ROUNDS = "3"


@pytest.fixture(scope="module")
def found():
    """The figures, taken in processes of their own."""
    command = [sys.executable, "-m", "benchmarks.footprint", "--json", "--rounds"]
    done = subprocess.run(
        [*command, ROUNDS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_sidecar_is_small_and_soon_ready(found, name):
    """The memory is a count; the ratio has half of its bound to spare for a noisy machine."""
    assert found[name] <= BOUNDS[name].most
