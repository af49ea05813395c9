"""Whoever owns the listening socket and restarts the gateway behind it, as a service manager does.

And callers that never try again: what fails there was lost.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Self

import attrs
import orjson

from tests.callers import RawCaller
from tests.gateway import CHAT, KEY, asking, provider_key

ROOT = Path(__file__).parents[1]
START_S = 60.0  # a busy machine imports slowly

# Gives the process the descriptors from 3 on, and says that it is who is meant: sd_listen_fds(3).
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="api")
os.execv(sys.executable, [sys.executable, "-m", "lowproxy", "serve", *sys.argv[2:]])
"""


class Owner:
    """Owns a port and a notify socket: `async with Owner(folder, config) as owner`."""

    def __init__(self, folder: Path, config: Path) -> None:
        self._folder, self._config = folder, config
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.sock.getsockname()[1]
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.setblocking(False)
        self.child: asyncio.subprocess.Process | None = None
        self._stopping: list[asyncio.Task[int]] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            self.stop()
            async with asyncio.timeout(60):
                codes = await asyncio.gather(*self._stopping)
            assert set(codes) == {0}, codes
        finally:
            for task in self._stopping:
                task.cancel()
            self.sock.close()
            self.notify.close()

    async def start(self, **environ: str) -> None:
        """One more process; returns when it has said that it is ready."""
        log = (self._folder / "serve.log").open("ab")
        kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
        options = ["--config", str(self._config), "--admin-listen", "127.0.0.1:0"]
        with log:
            self.child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _LAUNCH,
                str(self.sock.fileno()),
                *options,
                cwd=self._folder,
                env={
                    **kept,
                    "PYTHONPATH": str(ROOT),
                    "HOME": str(self._folder),
                    "NOTIFY_SOCKET": str(self._folder / "notify"),
                    "LOWROUTER_API_KEY": KEY,
                    "P1_KEY": provider_key("p1"),
                    **environ,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self.sock.fileno()],
            )
        await self.told("READY=1")

    def stop(self) -> None:
        """Tells the running process to end, and does not wait for it."""
        child = self.child
        assert child is not None, "it has been started"
        child.send_signal(signal.SIGTERM)
        self._stopping.append(asyncio.create_task(_ended(child)))

    async def restart(self) -> None:
        """The next process first, then the end of this one: the port is never without."""
        old = self.child
        await self.start()
        new, self.child = self.child, old
        self.stop()
        self.child = new

    async def told(self, line: str) -> list[str]:
        """The next message with this line, as its lines; earlier ones are dropped."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(START_S):
            while True:
                lines = (await loop.sock_recv(self.notify, 4096)).decode().split("\n")
                if line in lines:
                    return lines

    def hangup(self) -> None:
        """SIGHUP."""
        assert self.child is not None, "it has been started"
        self.child.send_signal(signal.SIGHUP)

    def logged(self) -> str:
        """All that any of the processes printed."""
        return (self._folder / "serve.log").read_text()


async def _ended(child: asyncio.subprocess.Process) -> int:
    try:
        return await child.wait()
    finally:
        if child.returncode is None:
            child.kill()


@attrs.define
class Load:
    """What callers saw."""

    streams: int = 0
    answers: int = 0
    failures: list[str] = attrs.field(factory=list)

    async def stream(self, port: int, over: asyncio.Event) -> None:
        """One stream after the other, each to its end."""
        while not over.is_set():
            with self._noted("stream"):
                async with RawCaller(port, key=KEY) as caller:
                    reply = await caller.post(CHAT, asking())
                    body = await reply.rest()
                    whole = reply.status == 200 and body.endswith(b"data: [DONE]\n\n")
                    assert whole, body[-300:]
                    assert b'"error"' not in body
                    self.streams += 1

    async def unary(self, port: int, over: asyncio.Event, pause_s: float) -> None:
        """One request after the other, on one connection as long as the answers allow it."""
        while not over.is_set():
            with self._noted("unary"):
                async with RawCaller(port, key=KEY) as caller:
                    while not over.is_set():
                        reply = await caller.post(CHAT, asking(False))
                        body = await reply.rest()
                        assert reply.status == 200, body
                        assert orjson.loads(body)["choices"]
                        self.answers += 1
                        if reply.headers["connection"] == "close":
                            break
                        await asyncio.sleep(pause_s)

    @contextlib.contextmanager
    def _noted(self, kind: str) -> Any:
        try:
            yield
        except (AssertionError, OSError, TimeoutError, ValueError) as exc:
            self.failures.append(f"{kind}: {type(exc).__name__} {exc}")


@contextlib.asynccontextmanager
async def under_load(port: int, streams: int, unary: int) -> Any:
    """Callers of both kinds until left; whoever is in a stream finishes it."""
    load, over = Load(), asyncio.Event()
    tasks = [asyncio.create_task(load.stream(port, over)) for _ in range(streams)]
    tasks += [
        # Some at once, some after being idle for a while: the pauses are spread.
        asyncio.create_task(load.unary(port, over, 0.4 * i / unary))
        for i in range(unary)
    ]
    try:
        yield load
    finally:
        over.set()
        await asyncio.gather(*tasks)
