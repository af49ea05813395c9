"""The ways up, alone and within gateways, on the event loop that production runs."""

from tests.gateway import client_kind, log_text, other, serve, uvloop_factories

__all__ = ["client_kind", "log_text", "other", "serve"]


def pytest_asyncio_loop_factories():
    """uvloop, as `lowproxy serve` picks it."""
    return uvloop_factories()
