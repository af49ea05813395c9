"""Fixtures for everybody: a fake upstream and a clock that stands still."""

import pytest
from hypothesis import settings

from tests.fakes import Clock, FakeUpstream

# On a busy machine an example that is slow once is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def clock():
    """A clock that moves only when told."""
    return Clock()


@pytest.fixture
async def upstream():
    """A running fake upstream."""
    async with FakeUpstream() as up:
        yield up
