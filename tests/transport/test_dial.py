"""No connection is one failure with one name, and its message gives no address away."""

import asyncio
import socket

import pytest
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver

from lowproxy.errors import UpstreamUnreachableError
from lowproxy.transport.dial import RECEIVE_BYTES, Dialler
from lowproxy.transport.pool import Pool, Target
from tests.fakes import refusing_port


class Resolver(AbstractResolver):
    """Answers with one address, fails, or never answers."""

    def __init__(self, answer):
        self.answer = answer

    async def resolve(self, host, port=0, family=socket.AF_INET):
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return await ThreadedResolver().resolve(self.answer, port, family)

    async def close(self):
        """Nothing to close."""


def dialler(answer="127.0.0.1", connect_s=5.0):
    return Dialler(Resolver(answer), Pool(asyncio.get_running_loop()), connect_s)


async def test_a_connection(upstream):
    """It is there, open, and its receive buffer is bounded."""
    target = Target("localhost", upstream.port, tls=False)
    connection = await dialler().connect(target, "acme")
    assert connection.open
    sock = connection.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * RECEIVE_BYTES
    connection.transport.abort()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("127.0.0.1", "Connection refused"),
        (OSError(None, "no such name"), "no connection"),
        (UnicodeError("label too long"), "cannot be resolved"),
        (None, "connect_s"),
    ],
)
async def test_no_connection(answer, says):
    """Refused, unknown, malformed, too slow."""
    with refusing_port() as port:
        target = Target("acme.example", port, tls=False)
        with pytest.raises(UpstreamUnreachableError, match=says) as failure:
            await dialler(answer, connect_s=0.05 if answer is None else 5.0).connect(
                target, "acme-paris"
            )
    assert failure.value.message.startswith("acme-paris: ")
    assert "127.0.0.1" not in failure.value.message


async def test_a_server_that_speaks_no_tls(upstream):
    """TLS that fails says so."""
    upstream.on_request = None
    target = Target("127.0.0.1", upstream.port, tls=True)
    with pytest.raises(UpstreamUnreachableError, match="acme: "):
        await dialler(connect_s=2.0).connect(target, "acme")
