"""What a sidecar costs its pod: resident memory when idle, and how soon it is ready.

    python -m benchmarks.footprint            a table; status 1 where a bound is overrun
    python -m benchmarks.footprint --json

The gateway is started as a sidecar is, with the built-in demo in a provider's place. How soon it is
ready is a ratio: to what Python takes, in the same run and in turn, to import what any such gateway
has to import. Of each the quickest start counts, since other processes only ever add to one. What an
open stream takes is a count, and stands in `counts.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.load.process import ROOT, free_port, memory_kib, stop

ROUNDS = 5
START_S = 30.0  # a busy machine imports slowly
POLL_S = 0.005  # short beside a start, long beside a refused connection
IMPORTS = "import aiohttp.web, uvloop, orjson"
# As `python -m lowproxy` in the image, where the extra `chat` is not installed: structlog imports rich
# wherever it is there, and that is 3 MB.
START = "import sys; sys.modules['rich'] = None; from lowproxy.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Bound:
    """The most that a figure may be, and its unit."""

    most: float
    unit: str


BOUNDS = {
    "resident, idle": Bound(60e6, "bytes"),
    "ready, over the imports": Bound(3.0, "x"),
}


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; 1 where a bound is overrun."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    found = measured(options.rounds)
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            bound = BOUNDS.get(name)
            most = f"  at most {bound.most:.3g} {bound.unit}" if bound else ""
            print(f"{name:32} {value:12.4g}{most}")
    return int(any(found[name] > bound.most for name, bound in BOUNDS.items()))


def measured(rounds: int) -> dict[str, float]:
    """The figures by name: seconds, bytes, and the ratio."""
    imports, ready, resident = [], [], []
    for _ in range(rounds):
        imports.append(_importing_s())
        with _started() as (took_s, pid):
            ready.append(took_s)
            resident.append(memory_kib([pid]) * 1024)
    return {
        "the imports, s": min(imports),
        "ready, s": min(ready),
        "ready, over the imports": min(ready) / min(imports),
        "resident, idle": max(resident),
    }


def _importing_s() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, timeout=START_S)
    return time.monotonic() - begun


@contextmanager
def _started() -> Iterator[tuple[float, int]]:
    """A gateway of its own: seconds until /readyz said yes, and its process id."""
    api, admin = free_port(), free_port()
    command = [sys.executable, "-c", START, "serve"]
    command += ["--listen", f"127.0.0.1:{api}", "--admin-listen", f"127.0.0.1:{admin}"]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT), "STATE_DIRECTORY": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{admin}/readyz", begun, process)
            yield time.monotonic() - begun, process.pid
        finally:
            stop(process)


def _wait_until_ready(url: str, begun: float, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and time.monotonic() < begun + START_S:
        try:
            with urllib.request.urlopen(url, timeout=START_S) as answer:
                answer.read()
                return
        except OSError:
            time.sleep(POLL_S)
    raise RuntimeError(f"not ready after {START_S} s (exit {process.poll()})")


if __name__ == "__main__":
    raise SystemExit(main())
