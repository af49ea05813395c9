"""What is asked of a proxy: the workloads, by name."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

# The usual question, about as long as a short chat turn.
QUESTION = "Name three things that a courier should check before a long ride, please."


@dataclass(frozen=True)
class Workload:
    """One kind of load. `gap_us` 0 is unpaced; `size` counts a whole event."""

    name: str
    what: str
    connections: int
    window_ms: int
    warm_ms: int
    streams: bool = True
    events: int = 100
    size: int = 280
    gap_us: int = 0
    ramp_ms: int = 0
    prompt_bytes: int = 0  # 0: the usual question
    tls: bool = False  # the proxy's upstream speaks TLS
    slow: int = 0  # callers beside these who read `slow_rate` bytes a second
    slow_rate: int = 1000
    syscalls: bool = False  # under strace, so no times are taken
    unit: str = "event"  # what CPU time is divided by: event or request
    times: str = "delay_us"  # which times are told: those of the load generator

    @property
    def model(self) -> str:
        """The model's name, which tells the fake provider what to answer."""
        if not self.streams:
            return "bench"
        return f"bench-n{self.events}-b{self.size}-g{self.gap_us}"

    @property
    def slow_model(self) -> str:
        """What slow readers ask for: more than they can ever take."""
        return "bench-n1000000-b4096"

    @property
    def shows_model(self) -> bool:
        """Whether the events have room for `model`, so that it can be checked."""
        return self.size >= 200

    def body(self, model: str, *, asks_usage: bool) -> bytes:
        """The request's JSON, as the OpenAI SDK would write it."""
        prompt = QUESTION
        if self.prompt_bytes:
            text = 'The road went on, "quoted" signs and all;\nnobody counted. '
            prompt = text * (self.prompt_bytes // (len(json.dumps(text)) - 2))
        body: dict[str, Any] = {
            "model": model,
            "messages": [
                {"role": "system", "content": "You answer in one sentence."},
                {"role": "user", "content": prompt},
            ],
            "temperature": 0.7,
            "max_tokens": 256,
        }
        if self.streams:
            body["stream"] = True
            if asks_usage:
                body["stream_options"] = {"include_usage": True}
        return json.dumps(body, separators=(",", ":")).encode()

    def facts(self) -> dict[str, Any]:
        """What the raw file keeps."""
        return asdict(self)


def _paced(name: str, what: str, connections: int, per_s: int, **more: Any) -> Workload:
    # A stream lasts longer than warm-up and window together: the window holds
    # events and nothing else, so the cost of requests is not mixed in (U has it).
    usual = {"window_ms": 2500, "warm_ms": 1000, "ramp_ms": 500, "events": 5 * per_s}
    gap_us = 1_000_000 // per_s
    return Workload(name, what, connections, gap_us=gap_us, **{**usual, **more})


def _unary(name: str, what: str, connections: int, **more: Any) -> Workload:
    usual = {
        "window_ms": 2000,
        "warm_ms": 400,
        "unit": "request",
        "times": "latency_us",
    }
    return Workload(name, what, connections, streams=False, **{**usual, **more})


WORKLOADS = {
    w.name: w
    for w in (
        # Many streams come first in a visit: memory that a later load would have
        # grown already must not hide what a stream keeps.
        _paced(
            "S3",
            "1000 streams, 5 events/s each",
            1000,
            5,
            events=100,
            warm_ms=2000,
            ramp_ms=1000,
        ),
        _paced("S2", "200 streams, 50 events/s each", 200, 50),
        _paced("S2L", "20 streams, 50 events/s each", 20, 50, window_ms=2000),
        _paced("S2-52B", "S2 with the barest events, 52 B", 200, 50, size=52),
        _paced("S2-4kB", "S2 with events of 4 kB", 200, 50, size=4096),
        Workload("S1", "32 callers, unpaced streams of 100 events", 32, 2000, 400),
        Workload(
            "F",
            "8 callers, streams of 5 events 10 ms apart: time to the first event",
            8,
            2000,
            400,
            events=5,
            gap_us=10_000,
            unit="request",
            times="first_event_us",
        ),
        _unary("U", "32 callers, unary", 32),
        _unary("L", "16 callers, unary, 200 kB prompt", 16, prompt_bytes=200_000),
        _paced("SLOW", "S2, and 10 callers at 1 kB/s", 200, 50, slow=10, warm_ms=2000),
        _paced("OVER", "1200 streams, 50 events/s each", 1200, 50, ramp_ms=1000),
        _paced(
            "SYS",
            "S2 under strace",
            200,
            50,
            warm_ms=3000,
            window_ms=1500,
            ramp_ms=1500,
            syscalls=True,
        ),
        _paced("T", "S2, the upstream speaks TLS 1.3", 200, 50, tls=True),
        _unary("TU", "U, the upstream speaks TLS 1.3", 32, tls=True),
    )
}
USUAL = [
    "S3",
    "S2",
    "S2@400",
    "S2L",
    "S2-52B",
    "S2-4kB",
    "S1",
    "F",
    "U",
    "L",
    "SLOW",
    "SYS",
    "T",
    "TU",
]


def named(name: str, scale: float = 1.0) -> Workload:
    """A workload by name; `S2@400` is S2 with 400 connections.

    `scale` shortens or lengthens the window. Raises KeyError for an unknown name.
    """
    base, _, connections = name.partition("@")
    found = WORKLOADS[base]
    if connections:
        what = f"{base} with {connections} connections"
        found = replace(found, name=name, what=what, connections=int(connections))
    return replace(found, window_ms=int(found.window_ms * scale))


def models() -> list[str]:
    """Every model name that some workload asks for."""
    every = WORKLOADS.values()
    return sorted({w.model for w in every} | {w.slow_model for w in every if w.slow})
