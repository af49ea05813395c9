"""System calls of a process tree, counted inside a given time by strace."""

import contextlib
import ctypes
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load.process import find, pinned

# `1234 1700000000.123456 read(5, ""..., 65536) = 280`; a call that another thread's line
# interrupts ends with "<unfinished ...>", and its "resumed" line does not begin with a name.
CALL = re.compile(r"^(?:\d+ +)?(\d+\.\d+) (\w+)\(")


@contextlib.contextmanager
def traced(pids: list[int], log: Path, core: int) -> Iterator[None]:
    """Write every system call of these processes with its time to `log`.

    On the traced processes' own core: from another one a call takes so long that events
    pile up, are read several at a time, and the count flatters.
    """
    program = find("strace")
    if program is None:
        raise FileNotFoundError("strace is not installed")
    # No string is printed: what is relayed is nobody's business, and costs time.
    command = pinned(core, [program, "-f", "-ttt", "-s", "0", "-o", str(log)])
    for pid in pids:
        command += ["-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=30)


@contextlib.contextmanager
def thread_traced(tid: int, log: Path) -> Iterator[None]:
    """Write every system call of one thread of this process to `log`."""
    program = find("strace")
    if program is None:
        raise FileNotFoundError("strace is not installed")
    # Where only a parent may trace, ptrace(2) of yama, we let our child do it: PR_SET_PTRACER, anybody.
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
    command = [program, "-ttt", "-s", "0", "-o", str(log), "-p", str(tid)]
    tracer = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None, "it is a pipe"
    with tracer.stderr:
        tracer.stderr.readline()  # that it is attached, or why not
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(timeout=30)


def counted(log: Path, opened_at: float, wall_s: float) -> dict[str, int]:
    """How often each call began within the window, most frequent first.

    Nothing where the tracer could not attach and wrote nothing.
    """
    calls: Counter[str] = Counter()
    if not log.exists():
        return {}
    with log.open(errors="replace") as lines:
        for line in lines:
            match = CALL.match(line)
            if match and opened_at <= float(match[1]) < opened_at + wall_s:
                calls[match[2]] += 1
    return dict(calls.most_common())
