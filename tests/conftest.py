"""Fixtures for everybody: a fake upstream and a clock that stands still."""

import pytest

from tests.fakes import Clock, FakeUpstream


@pytest.fixture
def clock():
    """A clock that moves only when told."""
    return Clock()


@pytest.fixture
async def upstream():
    """A running fake upstream."""
    async with FakeUpstream() as up:
        yield up
