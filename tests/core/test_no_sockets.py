"""The guard of this folder works."""

import socket

import pytest


def test_a_socket_is_refused():
    """A test of the core that opens a socket fails."""
    with pytest.raises(AssertionError, match="the core opened a socket"):
        socket.socket()
    with pytest.raises(AssertionError, match="the core opened a socket"):
        socket.create_connection(("127.0.0.1", 9))
