"""For how long a large request keeps the gateway from everybody else.

    python -m benchmarks.stalls            a table; status 1 where a bound is overrun
    python -m benchmarks.stalls --json     the figures

A gateway with all its duties runs on a thread of this process; a callback that schedules itself again runs in
every turn of its loop. The longest turn, in CPU time of that thread, while a large request is served is the
longest for which everybody else had to wait: what other processes do does not show in it. The first row is
the same without a request.
"""

import argparse
import base64
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.load.lockstep import Bench, bench
from benchmarks.load.workloads import WORKLOADS

REQUESTS = 20
IMAGE_BYTES = 10_000_000
REST_S = 0.02
# The most milliseconds of the longest turn: the median of the requests.
BOUNDS_MS = {"200 kB prompt": 2.0, "10 MB image": 20.0}


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; 1 where a bound is overrun."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    found = measured(options.requests)
    if options.json:
        print(json.dumps(found))
    else:
        print("| while served | median ms | worst ms | median at most | requests |")
        print("| --- | --- | --- | --- | --- |")
        for name, stalls in found.items():
            most = f"{BOUNDS_MS[name]:g}" if name in BOUNDS_MS else "-"
            row = f"{median(stalls):.2f} | {max(stalls):.2f} | {most} | {len(stalls)}"
            print(f"| {name} | {row} |")
    return int(any(median(found[name]) > most for name, most in BOUNDS_MS.items()))


def measured(requests: int = REQUESTS) -> dict[str, list[float]]:
    """Milliseconds of the longest turn during each request, by kind; and during as many rests."""
    bodies = {"200 kB prompt": prompt(), "10 MB image": image()}
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder)) as gateway:
        gc.collect()
        gc.freeze()  # as `lowproxy serve` does
        turns, caller = Turns(gateway), gateway.dial()
        found = {
            "nothing": [turns.longest_s(lambda: None) for _ in range(requests)],
        }
        for name, body in bodies.items():

            def serve(body: bytes = body) -> None:
                gateway.unary(caller, body)

            serve()
            found[name] = [turns.longest_s(serve) for _ in range(requests)]
        caller.close()
        gc.unfreeze()
    return {name: [1000 * s for s in stalls] for name, stalls in found.items()}


def prompt() -> bytes:
    """A chat request with a prompt of 200 kB."""
    return WORKLOADS["L"].body("bench", asks_usage=False)


def image(size: int = IMAGE_BYTES) -> bytes:
    """A chat request with a picture of so many bytes in it, as the SDKs send one."""
    url = f"data:image/png;base64,{base64.b64encode(os.urandom(size)).decode()}"
    parts = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    messages = [{"role": "user", "content": parts}]
    body = {"model": "bench", "messages": messages, "max_tokens": 256}
    return json.dumps(body, separators=(",", ":")).encode()


class Turns:
    """Times the turns of the gateway's loop, while asked to."""

    def __init__(self, gateway: Bench) -> None:
        self._gateway = gateway
        self._on = False
        self._before = self._longest_s = 0.0

    def longest_s(self, work: Callable[[], None]) -> float:
        """CPU seconds of the longest turn during the work and shortly before and after."""
        self._gateway.call(self._begin)
        time.sleep(REST_S)
        work()
        time.sleep(REST_S)
        self._gateway.call(self._end)
        return self._longest_s

    def _begin(self) -> None:
        self._on, self._longest_s = True, 0.0
        self._before = time.thread_time()
        self._turn()

    def _end(self) -> None:
        self._on = False

    def _turn(self) -> None:
        now = time.thread_time()
        self._longest_s = max(self._longest_s, now - self._before)
        self._before = now
        if self._on:
            self._gateway.loop.call_soon(self._turn)


if __name__ == "__main__":
    sys.exit(main())
