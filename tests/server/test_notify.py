"""What systemd is told, on a real socket."""

import asyncio
import os
import socket
import time

import pytest

from lowproxy.server.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """Who listens, and the environment it gives."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        if request.param == "path":
            name = str(tmp_path / "notify")
            sock.bind(name)
        else:
            name = f"@lowproxy-test-{os.getpid()}"
            sock.bind(f"\0{name[1:]}")
        yield sock, {"NOTIFY_SOCKET": name}


def test_the_life_of_a_service(manager):
    """READY, RELOADING with its moment, READY, STOPPING: each one datagram, with words for people."""
    sock, environ = manager
    notifier = Notifier.of(environ, os.getpid())
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.ready("serving")
    notifier.reloading()
    notifier.stopping()
    lines = [sock.recv(4096).decode().split("\n") for _ in range(3)]
    assert lines[0][:2] == ["READY=1", "STATUS=serving"]
    assert lines[1][0] == "RELOADING=1"
    moment = int(lines[1][1].removeprefix("MONOTONIC_USEC="))
    assert before <= moment <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert lines[2][0] == "STOPPING=1"


async def test_the_watchdog_is_fed_while_the_loop_turns(manager):
    """At half of its limit, from the first moment until the end."""
    sock, environ = manager
    sock.setblocking(False)
    notifier = Notifier.of({**environ, "WATCHDOG_USEC": "20000"}, os.getpid())
    assert notifier.watchdog_s == 0.02
    loop = asyncio.get_running_loop()
    with notifier.watched(loop):
        for _ in range(3):
            async with asyncio.timeout(10):
                assert await loop.sock_recv(sock, 100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "vsock:2:1"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
    ],
)
async def test_nobody_listens(environ):
    """Nothing is said, nothing fails."""
    notifier = Notifier.of(environ, os.getpid())
    assert notifier.watchdog_s is None
    notifier.ready("serving")
    notifier.reloading()
    with notifier.watched(asyncio.get_running_loop()):
        notifier.stopping()
