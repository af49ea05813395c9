"""Make connections to upstreams: resolve, race the addresses, TLS.

On documented interfaces alone: names are resolved by aiohttp's resolver and addresses raced by
aiohappyeyeballs, as aiohttp's own connector does it.
"""

import asyncio
import os
import socket
import ssl

import aiohappyeyeballs
from aiohttp.abc import AbstractResolver

from lowproxy.errors import UpstreamUnreachableError
from lowproxy.transport.pool import Connection, Pool, Target
from lowproxy.transport.run import in_task

# RFC 8305, section 5: how long one address family has before the other is tried beside it.
HAPPY_EYEBALLS_S = 0.25
# One read brings what the kernel has gathered, and goes to a slow caller's buffer as a whole.
RECEIVE_BYTES = 96 * 1024


class Dialler:
    """Opens connections for a pool, within `connect_s` (0: no limit)."""

    def __init__(
        self, resolver: AbstractResolver, pool: Pool, connect_s: float
    ) -> None:
        self._resolver = resolver
        self._pool = pool
        self._connect_s = connect_s
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLContext | None = None

    async def connect(self, target: Target, name: str) -> Connection:
        """A new connection; `name` is for messages. Raises UpstreamUnreachableError."""
        await in_task()
        try:
            async with asyncio.timeout(self._connect_s or None):
                connection = await self._open(target)
        except TimeoutError as exc:
            limit_s = self._connect_s
            raise UpstreamUnreachableError(
                f"{name}: no connection within connect_s ({limit_s:g} s)"
            ) from exc
        except ssl.SSLError as exc:
            raise UpstreamUnreachableError(
                f"{name}: TLS failed ({exc.reason or type(exc).__name__})"
            ) from exc
        except UnicodeError as exc:  # a label of the name is empty or too long
            raise UpstreamUnreachableError(
                f"{name}: its host name cannot be resolved"
            ) from exc
        except OSError as exc:
            # Its own text holds the address, which is the operator's business.
            why = os.strerror(exc.errno) if exc.errno else "no connection"
            raise UpstreamUnreachableError(f"{name}: {why}") from exc
        self._pool.added(connection)
        return connection

    async def _open(self, target: Target) -> Connection:
        rows = await self._resolver.resolve(target.host, target.port, socket.AF_UNSPEC)
        addresses = [
            (
                row["family"],
                socket.SOCK_STREAM,
                row["proto"],
                "",
                (row["host"], row["port"]),
            )
            for row in rows
        ]
        sock = await aiohappyeyeballs.start_connection(
            addresses,
            happy_eyeballs_delay=HAPPY_EYEBALLS_S,
            interleave=1,
            loop=self._loop,
        )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._pool, target),
            sock=sock,
            ssl=self._tls_context() if target.tls else None,
            server_hostname=target.host if target.tls else None,
        )
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls
