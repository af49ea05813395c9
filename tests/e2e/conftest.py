"""The real process, as an operator starts it: a command line, an environment, two ports."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import pytest

from tests.fakes import LIMIT_S

ROOT = Path(__file__).parents[2]
KEY = "lr-sk-e2e-" + "0123456789abcdef" * 3
START_S = 30.0  # a busy machine imports slowly


@attrs.frozen
class Process:
    """A process that serves; `log` is the file with all that it printed."""

    pid: int
    log: Path

    def printed(self) -> str:
        """Everything printed so far."""
        return self.log.read_text()


@attrs.frozen
class Gateway:
    """A running gateway."""

    base_url: str  # of the API, for an SDK
    admin_url: str
    key: str
    port: int
    process: Process


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running_process(
    command: list[str], env: Mapping[str, str], folder: Path, ready_url: str
) -> Iterator[Process]:
    """Runs the command in `folder` until `ready_url` answers 200; stops it afterwards.

    The environment is `env` and what a process cannot do without, nothing else of ours.
    """
    log = folder / "printed.txt"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with log.open("wb") as out:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, "XDG_STATE_HOME": str(folder), **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_ready(child, ready_url, log)
            yield Process(child.pid, log)
        finally:
            _stop(child)


def _wait_until_ready(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(url):
        if child.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(
                f"{child.args!r} is not ready (exit {child.poll()}):\n{log.read_text()}"
            )
        time.sleep(0.05)  # another process: there is nothing to await


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextlib.contextmanager
def running_gateway(
    folder: Path,
    config: str | None = None,
    *,
    key: str = KEY,
    under: Sequence[str] = (),
    **env: str,
) -> Iterator[Gateway]:
    """`python -m lowproxy serve` on free ports, with `config` (TOML) where it is given.

    `under` is a command that runs it, and leaves it its process id.
    """
    port, admin_port = free_port(), free_port()
    command = [*under, sys.executable, "-m", "lowproxy", "serve"]
    command += ["--listen", f"127.0.0.1:{port}"]
    command += ["--admin-listen", f"127.0.0.1:{admin_port}"]
    if config is not None:
        path = folder / "gateway.toml"
        path.write_text(config)
        command += ["--config", str(path)]
    admin_url = f"http://127.0.0.1:{admin_port}"
    env = {"PYTHONPATH": str(ROOT), "LOWROUTER_API_KEY": key, **env}
    with running_process(command, env, folder, f"{admin_url}/readyz") as process:
        base_url = f"http://127.0.0.1:{port}/api/v1"
        yield Gateway(base_url, admin_url, key, port, process)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """A gateway started as on a fresh machine: no configuration, no provider key."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running
