"""Processes under measurement: started on one core, watched, stopped by their ids."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Debian keeps nginx out of an ordinary user's PATH.
SEARCH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


def find(program: str) -> str | None:
    """Where a program is installed; None where it is not."""
    return shutil.which(program, path=SEARCH)


def cores() -> tuple[int, int]:
    """The proxy's core and everybody else's: the same one where there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[0], mine[-1]


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(core: int, command: list[str]) -> list[str]:
    """The command that runs `command` on one core and keeps its process id."""
    return ["taskset", "-c", str(core), *command]


def tree(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def memory_kib(pids: list[int], field: str = "VmRSS") -> int:
    """A `/proc/PID/status` figure, summed; pages shared within the tree count twice."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1])
    return total


def cpu_s(pids: list[int]) -> float:
    """User and system seconds so far, to a hundredth."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def core_s(core: int) -> float:
    """Seconds that a core has been busy with anything, interrupts of it included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, irq, softirq = map(int, ticks[:7])
            return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return 0.0


def settle(pids: list[int], limit_s: float = 15.0) -> None:
    """Wait until the processes rest: what was abandoned is not the next load's cost."""
    give_up = time.monotonic() + limit_s
    while pids and time.monotonic() < give_up:
        before = cpu_s(pids)
        time.sleep(0.25)
        if cpu_s(pids) - before < 0.03:
            return


def answers(url: str, limit_s: float, process: subprocess.Popen[bytes]) -> bool:
    """Whether the process answers 200 at the URL within the limit, and lives that long."""
    give_up = time.monotonic() + limit_s
    while time.monotonic() < give_up and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                answer.read()
                return True
        except OSError:
            time.sleep(0.05)
    return False


def stop(process: subprocess.Popen[bytes], patience_s: float = 3.0) -> None:
    """End a process and its children: politely, then not."""
    pids = tree(process.pid)
    for how in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, how)
        give_up = time.monotonic() + patience_s
        while time.monotonic() < give_up:
            process.poll()
            if not any(Path(f"/proc/{pid}").exists() for pid in pids):
                return
            time.sleep(0.02)


@contextlib.contextmanager
def started(
    command: list[str], core: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command on a core, its output in `log`; ended with the block."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            pinned(core, command),
            cwd=ROOT,
            env={**os.environ, "PATH": SEARCH, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        yield process
    finally:
        stop(process)
