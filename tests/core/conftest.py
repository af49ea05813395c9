"""The core does no I/O: whoever opens a socket in its tests fails them."""

import socket

import pytest


class _NoSocket(socket.socket):
    """A class, not a function, because `ssl` inherits from whatever stands here."""

    def __init__(self, *_args, **_kwargs):
        raise AssertionError("the core opened a socket")


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    """Any socket made during a test of the core is a failure."""
    monkeypatch.setattr(socket, "socket", _NoSocket)
