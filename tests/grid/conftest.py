"""The sources, on the event loop that production runs."""

import pytest
import structlog

from lowproxy.grid import feed
from tests.gateway import log_text, uvloop_factories
from tests.grid_server import FakeGrid

__all__ = ["log_text"]


def pytest_asyncio_loop_factories():
    """uvloop, as `lowproxy serve` picks it."""
    return uvloop_factories()


@pytest.fixture
def told(log_text, monkeypatch):
    """All that the feeds log, as it would be written."""
    # A logger that was used before has kept its old stream.
    monkeypatch.setattr(feed, "log", structlog.get_logger("lowproxy.grid"))
    return log_text


@pytest.fixture
async def grid():
    """Every source on one port."""
    async with FakeGrid() as server:
        yield server
