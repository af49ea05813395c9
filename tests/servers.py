"""Real PostgreSQL and Redis servers for tests: on free ports of 127.0.0.1, in directories of their own.

Debian's packages are enough; where a program is missing, `missing` says which. Nothing
runs as root, and each server is ended by whoever started it.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_S = 30.0


def program(name: str) -> str | None:
    """Where a server program is; Debian keeps PostgreSQL's out of PATH."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found or (str(places[-1]) if places else None)


def redis_program() -> str | None:
    """Valkey's server or Redis's, whichever is there."""
    return program("valkey-server") or program("redis-server")


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _somebody() -> dict[str, Any]:
    """Whom a server runs as where we are root: both refuse it, or should."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {
                "user": entry.pw_uid,
                "group": entry.pw_gid,
                "extra_groups": [],
            }
    raise AssertionError("neither a user postgres nor a user nobody")


class Server:
    """A server process that can be stopped, frozen and started again on its data."""

    def __init__(self, folder: Path, port: int, command: list[str], halt: int) -> None:
        self.folder, self.port, self._command, self._halt = folder, port, command, halt
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when connections are accepted."""
        with (self.folder / "log.txt").open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_somebody(),
            )
        deadline = time.monotonic() + START_S
        while not self._accepts():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log.txt").read_text())
            time.sleep(0.02)  # another process: there is nothing to await

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def signal(self, number: int) -> None:
        """Such as SIGSTOP."""
        assert self._child is not None
        self._child.send_signal(number)

    def stop(self) -> None:
        """Ends it and waits; nothing where it has ended."""
        if self._child is None:
            return
        self._child.send_signal(signal.SIGCONT)
        self._child.send_signal(self._halt)
        try:
            self._child.wait(START_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None


@contextlib.contextmanager
def _folder(name: str) -> Iterator[Path]:
    """Not pytest's: the server's user has to reach it."""
    folder = Path(tempfile.mkdtemp(prefix=f"lowproxy-{name}-"))
    if who := _somebody():
        os.chown(folder, who["user"], who["group"])
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_postgres() -> Iterator[Server]:
    """A fresh cluster; `url_of` names its databases."""
    initdb, postgres = program("initdb"), program("postgres")
    assert initdb, "ask missing_postgres first"
    assert postgres
    with _folder("pg") as folder:
        subprocess.run(
            [initdb, "-D", "data", "-U", "lowproxy", "-A", "trust", "-N"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=START_S,
            **_somebody(),
        )
        port = free_port()
        command = [postgres, "-D", "data", "-p", str(port), "-h", "127.0.0.1"]
        command += ["-k", str(folder), "-F", "-c", "max_connections=30"]
        server = Server(folder, port, command, signal.SIGINT)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_redis() -> Iterator[Server]:
    """An empty one, which keeps nothing on disk."""
    redis = redis_program()
    assert redis, "ask for it first"
    with _folder("redis") as folder:
        port = free_port()
        command = [redis, "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no"]
        server = Server(folder, port, command, signal.SIGTERM)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def url_of(server: Server, database: str = "postgres") -> str:
    """PostgreSQL's, as `store.url` takes it."""
    return f"postgresql://lowproxy@127.0.0.1:{server.port}/{database}"
