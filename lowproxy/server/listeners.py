"""The sockets that callers come in by: opened here, or handed to us by whoever started us."""

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager

import attrs

from lowproxy.config import Listen, Server
from lowproxy.errors import ConfigError

BACKLOG = 4096
# The first descriptor that is passed on: sd_listen_fds(3).
FIRST_FD = 3
# What sockets are for that have no name; a third one is not.
_ORDER = ("api", "admin", "")


@attrs.frozen
class Passed:
    """Sockets that somebody else owns: what queues there while we stop, the next one gets."""

    api: tuple[socket.socket, ...] = ()
    admin: tuple[socket.socket, ...] = ()


@attrs.frozen
class Opened:
    """What accepts, and where: the real port, if any was asked for."""

    servers: list[asyncio.Server]
    listen: Listen

    def close(self) -> None:
        """Accepts no more. A socket that was handed to us stays open for others."""
        for server in self.servers:
            server.close()


def passed_on(environ: Mapping[str, str], pid: int) -> Passed:
    """Sockets by `LISTEN_FDS`: named "api" or "admin", else the first is the API's and a second the admin's.

    Raises ConfigError where they are not sockets that listen, or are more than can be told apart.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not count.isdigit():
        return Passed()
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (int(count) - len(names))
    known = any(name in ("api", "admin") for name in names)
    kinds = [names[i] if known else _ORDER[min(i, 2)] for i in range(int(count))]
    for name, kind in zip(names, kinds, strict=False):
        if kind not in ("api", "admin"):
            right = "FileDescriptorName=api or admin in each .socket unit"
            raise ConfigError([f"LISTEN_FDNAMES: found {name!r}, needs {right}"])
    found: dict[str, list[socket.socket]] = {"api": [], "admin": []}
    for number, kind in enumerate(kinds, FIRST_FD):
        found[kind].append(_taken(number))
    return Passed(tuple(found["api"]), tuple(found["admin"]))


def only_local(sock: socket.socket) -> bool:
    """Whether no other machine can reach it."""
    return _where(sock, Listen("", 0)).loopback


def _taken(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)
        sock = socket.socket(fileno=number)
        accepts = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        problem = f"LISTEN_FDS: descriptor {number} is no socket: {exc.strerror}"
        raise ConfigError([problem]) from None
    if not accepts or sock.type != socket.SOCK_STREAM:
        sock.close()
        raise ConfigError([f"LISTEN_FDS: descriptor {number} does not listen"])
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def listening(
    factory: Callable[[], asyncio.Protocol],
    option: str,
    listen: Listen,
    passed: tuple[socket.socket, ...] = (),
    *,
    server: Server | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Opened]:
    """Accepts on the sockets that were handed to us, else where `listen` says, until left.

    `server` has what the API's port may have beside its address. Raises ConfigError, which names the option.
    """
    loop = asyncio.get_running_loop()
    server = server or Server()
    with contextlib.ExitStack() as stack:
        try:
            if listen.path and not passed:
                passed = (stack.enter_context(_unix(listen.path, server)),)
            if passed:
                servers = [await _serve(loop, factory, sock, tls) for sock in passed]
            else:
                servers = [
                    await loop.create_server(
                        factory,
                        listen.host,
                        listen.port,
                        backlog=BACKLOG,
                        reuse_port=server.reuse_port or None,
                        ssl=tls,
                    )
                ]
        except OSError as exc:
            why = exc.strerror or str(exc)
            raise ConfigError([f"{option}: {listen} cannot be opened: {why}"]) from None
        where = _where(servers[0].sockets[0], listen)
        opened = Opened(servers, where)
        try:
            yield opened
        finally:
            opened.close()


async def _serve(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], asyncio.Protocol],
    sock: socket.socket,
    tls: ssl.SSLContext | None,
) -> asyncio.Server:
    if sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(
            factory, sock=sock, backlog=BACKLOG, ssl=tls
        )
    return await loop.create_server(factory, sock=sock, backlog=BACKLOG, ssl=tls)


def _where(sock: socket.socket, listen: Listen) -> Listen:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Listen("", 0, os.fsdecode(name))
    host = listen.host if listen.host and not listen.path else name[0]
    return Listen(host, name[1])


@contextlib.contextmanager
def _unix(path: str, server: Server) -> Iterator[socket.socket]:
    """A listening Unix socket, from the first moment with the permissions that it is to have."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 & ~server.socket_mode)
    try:
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    made = _mark(path)
    try:
        if server.socket_group is not None:
            _give(path, server.socket_group)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        yield sock
    finally:
        sock.close()
        with contextlib.suppress(OSError):
            # Another process may have put its own there since.
            if _mark(path) == made:
                os.unlink(path)


def _mark(path: str) -> tuple[int, int]:
    """Tells a file from a later one of that name, which may have got its inode."""
    made = os.stat(path)
    return made.st_ino, made.st_mtime_ns


def _give(path: str, group: str) -> None:
    try:
        shutil.chown(path, group=group)
    except LookupError:
        problem = f"server.socket_group: there is no group {group!r}"
        raise ConfigError([problem]) from None
    except OSError as exc:
        problem = f"server.socket_group: {group!r} cannot be given: {exc.strerror}"
        raise ConfigError([problem]) from None


def _remove_stale(path: str) -> None:
    """Removes a socket that a process left behind which was killed; never one that somebody serves."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file which is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError as exc:
            raise OSError(exc.errno, f"what is there: {exc.strerror}") from None
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
