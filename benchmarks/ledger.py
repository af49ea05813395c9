"""Whether the books keep up with the gateway, and what a record costs.

    python -m benchmarks.ledger            a table; status 1 where a bound is overrun
    python -m benchmarks.ledger --json     the figures

First the writer alone, into SQLite: its CPU time per record, also in units of one JSON parse of a chat
request of 215 bytes, timed in the same run. Then a gateway on one core as fast as callers can make it go,
unary, with its books on: what waits in the queue is looked at all the while. Where the writer falls behind,
the queue grows from look to look, and is longer than what comes within two flushes.
"""

import argparse
import json
import re
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import attrs
import orjson

from benchmarks.load.proxies import PROXIES, Place, Start
from benchmarks.load.rig import rig, visit
from benchmarks.load.workloads import named
from benchmarks.micro.__main__ import best_ns
from benchmarks.micro.decisions import pool_of
from benchmarks.micro.stages import UNIT_BODY
from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.eco import ModelFacts
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.record import UsageRecord
from lowproxy.core.routing import decide
from lowproxy.core.routing_trace import Routed
from lowproxy.core.usage import Usage
from lowproxy.grid.annual import AnnualGrid
from lowproxy.store.connecting import open_migrated
from lowproxy.store.ledger import Ledger, Terms
from lowproxy.transport.dispatch import Attempt

RECORDS = 50_000
# Requests to a decision: what was measured changes by the second, and decisions with it.
SHARED = 100
LOOK_S = 0.25
# What may wait: two flushes' worth, one that is coming in while another is written.
MOST_QUEUED_S = 2.0


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; 1 where the books fall behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--scale", type=float, default=3.0, help="of two seconds' load")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    found = {**writer(options.records), **gateway(options.scale)}
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:40} {value:12.4g}")
    behind = found["deepest queue, s of traffic"] > MOST_QUEUED_S
    return int(behind or found["records spilled or lost"] > 0)


def writer(count: int) -> dict[str, float]:
    """The thread's work alone, in this one: from records to a committed file."""
    unit_ns = best_ns(lambda: orjson.loads(UNIT_BODY))
    records = _records(count)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite://{folder}/ledger.db"
        ledger = Ledger(
            Terms(lambda: open_migrated(url), most_waiting=count, retention_days=10**6)
        )
        ledger._database = open_migrated(url)
        ledger._most = count
        began = time.perf_counter()
        for record in records:
            ledger.append(record)
        append_ns = (time.perf_counter() - began) / count * 1e9
        began, cpu = time.perf_counter(), time.thread_time()
        ledger.flush()
        wall_s = time.perf_counter() - began
        cpu_ns = (time.thread_time() - cpu) / count * 1e9
        assert ledger.counts.written == count
        ledger._database.close()
        file_bytes = Path(folder, "ledger.db").stat().st_size
    return {
        "writer alone, records/s": count / wall_s,
        "CPU per record, us": cpu_ns / 1000,
        "CPU per record, units": cpu_ns / unit_ns,
        "bytes of the file per record": file_bytes / count,
        "append, on the request's way, units": append_ns / unit_ns,
    }


def gateway(scale: float) -> dict[str, float]:
    """One core of it under as much as it takes."""
    looks = Looks()
    proxy = replace(PROXIES["lowproxy"], start=looks.start)
    with rig(tls=False) as where, looks.looking():
        found = visit(where, proxy, [named("U", scale)])
    figures: dict[str, Any] = found.get("loads", {}).get("U", found)
    if "failed" in figures:
        sys.exit(f"the load could not be run: {figures['failed']}")
    rate = figures["answers"] / figures["wall_s"]
    return {
        "gateway with its books, requests/s": rate,
        "records written/s meanwhile": looks.rate,
        "deepest queue, records": looks.deepest,
        "deepest queue, s of traffic": looks.deepest / rate,
        "records spilled or lost": looks.astray,
    }


@dataclass
class Looks:
    """What the metrics say from time to time."""

    url: str | None = None
    seen: list[tuple[float, float]] = field(default_factory=list)  # when, written
    deepest: float = 0.0
    astray: float = 0.0

    def start(self, place: Place) -> Start | None:
        """Starts the gateway as ever, and notes where its metrics are."""
        start = PROXIES["lowproxy"].start(place)
        self.url = f"http://127.0.0.1:{place.admin_port}/metrics"
        return start

    def looking(self) -> "Looking":
        """Looks in a thread."""
        return Looking(self)

    def look(self) -> None:
        """Once; a gateway that is not there yet, or no more, says nothing."""
        if self.url is None:
            return
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return
        written = _value(text, 'lowproxy_ledger_records_total{outcome="written"}')
        self.seen.append((time.monotonic(), written))
        depth = _value(text, 'lowproxy_queue_depth{queue="ledger"}')
        self.deepest = max(self.deepest, depth)
        self.astray = sum(
            _value(text, f'lowproxy_ledger_records_total{{outcome="{each}"}}')
            for each in ("spilled", "lost")
        )

    @property
    def rate(self) -> float:
        """Records a second while there were any, from the first that were written to the last."""
        busy = [
            (before, after)
            for before, after in zip(self.seen, self.seen[1:], strict=False)
            if after[1] > before[1]
        ]
        if not busy:
            return 0.0
        (began, first), (ended, last) = busy[0][0], busy[-1][1]
        return (last - first) / (ended - began)


class Looking:
    """Runs `look` again and again while it is entered."""

    def __init__(self, looks: Looks) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(looks,))

    def _run(self, looks: Looks) -> None:
        while not self._stop.wait(LOOK_S):
            looks.look()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _records(count: int) -> list[UsageRecord]:
    grid = AnnualGrid.load().intensity("FR", "eu-west")
    rates = DEFAULT.coefficients(ModelFacts(24.0, 24.0), grid, 1.2)
    now, usage = time.time(), Usage(500, 200, 100)
    routes = _routes(count)
    return [
        UsageRecord(
            generation_id=f"gen_{hash(str(number)) & (2**64 - 1):024x}",
            created_at=now,
            completed_at=now + 1,
            endpoint="chat",
            http_status=200,
            status="ok",
            error=None,
            key_id="bench",
            requested_model="bench",
            resolved_model="bench",
            provider="provider",
            region="eu-west",
            streamed=False,
            latency_ms=12.5,
            duration_ms=12.6,
            usage=usage,
            impact=rates.impact(usage),
            attempts=((routes[number // SHARED].decision.chosen.id, "ok"),),
            cost_nano=number,
            currency="EUR",
            trace=routes[number // SHARED],
        )
        for number in range(count)
    ]


def _routes(count: int) -> list[Routed]:
    """How they were routed, among ten candidates."""
    pool = pool_of(10, 1)
    chat = attrs.evolve(ChatRequest.parse(UNIT_BODY), models=tuple(pool.by_model))
    made = []
    for _ in range(count // SHARED + 1):
        decision = decide(chat, ApiKey("bench", ""), pool)
        made.append(Routed(decision, [Attempt(decision.chosen.id, "ok", 0.0126)]))
    return made


if __name__ == "__main__":
    sys.exit(main())
