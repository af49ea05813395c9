"""Make connections to upstreams: resolve, race the addresses, pass a proxy, TLS.

On documented interfaces alone: names are resolved by aiohttp's resolver and addresses raced by
aiohappyeyeballs, as aiohttp's own connector does it.
"""

import asyncio
import os
import socket
import ssl

import aiohappyeyeballs
import attrs
from aiohttp.abc import AbstractResolver

from lowproxy.config import Config, Upstream
from lowproxy.config.tls import upstream_context
from lowproxy.core.tunnel import MAX_ANSWER_BYTES, Proxy, status_of
from lowproxy.errors import UpstreamUnreachableError
from lowproxy.transport.pool import Connection, Pool, Target
from lowproxy.transport.run import in_task

# RFC 8305, section 5: how long one address family has before the other is tried beside it.
HAPPY_EYEBALLS_S = 0.25
# One read brings what the kernel has gathered, and goes to a slow caller's buffer as a whole.
RECEIVE_BYTES = 64 * 1024
# Noted on a cancellation that came before there was a connection.
_CONNECTING = "while connecting"


def note_connecting(cancelled: asyncio.CancelledError) -> None:
    """Nothing had been sent when this came: whoever ended the wait can tell the caller so."""
    cancelled.add_note(_CONNECTING)


def was_connecting(failure: BaseException | None) -> bool:
    """Whether the wait was for a connection, and not for an answer."""
    return _CONNECTING in getattr(failure, "__notes__", ())


class ProxyError(Exception):
    """The proxy in between does not connect us; the text tells why, and no address."""


@attrs.frozen
class Way:
    """How connections leave: whom we trust and who we are, and through which proxy."""

    upstream: Upstream = attrs.field(factory=Upstream)
    proxy: Proxy | None = None
    # Of the files: other contents are another way, with connections of its own.
    stamps: tuple[tuple[int, int], ...] = ()

    def proxy_for(self, host: str, port: int, *, tls: bool) -> Proxy | None:
        """The proxy on the way there. One for plain HTTP would read what is said: that goes direct."""
        proxy = self.proxy
        return proxy if proxy is not None and tls and proxy.serves(host, port) else None

    def context(self) -> ssl.SSLContext:
        """TLS towards providers. Raises ValueError where a file has become unusable."""
        return upstream_context(self.upstream)


def way_of(config: Config) -> Way:
    """The way that a configuration says."""
    files = attrs.astuple(config.upstream)
    return Way(
        config.upstream, config.proxy, tuple(_stamp(file) for file in files if file)
    )


def _stamp(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_ino


class Dialler:
    """Opens connections for a pool, within `connect_s` (0: no limit)."""

    def __init__(
        self,
        resolver: AbstractResolver,
        pool: Pool,
        connect_s: float,
        way: Way = Way(),
    ) -> None:
        self._resolver = resolver
        self._pool = pool
        self._connect_s = connect_s
        self._way = way
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLContext | None = None

    def limited(self, connect_s: float) -> "Dialler":
        """The same, with another limit."""
        other = Dialler(self._resolver, self._pool, connect_s, self._way)
        other._tls = self._tls
        return other

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
        except asyncio.CancelledError as exc:
            note_connecting(exc)
            raise
        except ssl.SSLError as exc:
            raise UpstreamUnreachableError(
                f"{name}: TLS failed ({exc.reason or type(exc).__name__})"
            ) from exc
        except UnicodeError as exc:  # a label of the name is empty or too long
            raise UpstreamUnreachableError(
                f"{name}: its host name cannot be resolved"
            ) from exc
        except ProxyError as exc:
            raise UpstreamUnreachableError(f"{name}: {exc}") from exc
        except ValueError as exc:  # a certificate that was good has gone since
            raise UpstreamUnreachableError(f"{name}: TLS: {exc}") from exc
        except OSError as exc:
            # Its own text holds the address, which is the operator's business.
            why = os.strerror(exc.errno) if exc.errno else "no connection"
            raise UpstreamUnreachableError(f"{name}: {why}") from exc
        self._pool.added(connection)
        return connection

    async def _open(self, target: Target) -> Connection:
        proxy = self._way.proxy_for(target.host, target.port, tls=target.tls)
        if proxy is None:
            sock = await self._reach(target.host, target.port)
        else:
            sock = await self._reach(proxy.host, proxy.port)
            try:
                await self._through(sock, proxy, target)
            except BaseException:
                sock.close()
                raise
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._pool, target),
            sock=sock,
            ssl=self._tls_context() if target.tls else None,
            server_hostname=target.host if target.tls else None,
        )
        return connection

    async def _through(self, sock: socket.socket, proxy: Proxy, target: Target) -> None:
        """Has the proxy connect; after that its bytes are the target's."""
        await self._loop.sock_sendall(sock, proxy.ask(target.host, target.port))
        answer = b""
        # The other side of the tunnel waits for our TLS: nothing comes behind the head.
        while b"\r\n\r\n" not in answer:
            data = await self._loop.sock_recv(sock, 4096)
            answer += data
            if not data or len(answer) > MAX_ANSWER_BYTES:
                raise ProxyError("the proxy ended the connection")
        status = status_of(answer)
        if status is None or not 200 <= status < 300:
            raise ProxyError(f"the proxy answered {status or 'no HTTP'}")

    async def _reach(self, host: str, port: int) -> socket.socket:
        """A socket connected to the first of the host's addresses that answers."""
        rows = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
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
        return sock

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._way.context()
        return self._tls
