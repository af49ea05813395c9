"""What is read of the running parts for metrics: the loop's lag once a second, the rest at a scrape."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lowproxy.core.upstreams import Candidate
from lowproxy.metrics import Metrics
from lowproxy.server.parts import Live, Parts

EVERY_S = 1.0


@contextmanager
def running_pulse(live: Live) -> Iterator[None]:
    """Measures the loop's lag until left, and lets metrics ask the parts."""
    hooks = live.parts.metrics.hooks
    hooks.upstreams = lambda: _upstreams(live.parts)
    hooks.credentials = lambda: _credentials(live.parts)
    hooks.queues["aftermath"] = lambda: len(live.parts.aftermath)
    pulse = Pulse(live.parts.metrics, asyncio.get_running_loop())
    pulse.start()
    try:
        yield
    finally:
        pulse.stop()


class Pulse:
    """A timer of one second. How late it fires is how long everything else had to wait."""

    def __init__(self, metrics: Metrics, loop: asyncio.AbstractEventLoop) -> None:
        self._metrics, self._loop = metrics, loop
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins, or goes on."""
        due = self._loop.time() + EVERY_S
        self._timer = self._loop.call_at(due, self._beat, due)

    def stop(self) -> None:
        """No more beats."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self, due: float) -> None:
        self._metrics.loop_lag_s.observe(max(0.0, self._loop.time() - due))
        self._metrics.hooks.before()
        self._metrics.tally.beat(self._metrics.open_streams)
        self.start()


def candidates(parts: Parts) -> Iterator[Candidate]:
    """All of the pool, each once."""
    for offers in parts.pool.by_model.values():
        yield from offers


def states(parts: Parts) -> dict[str, str]:
    """Candidates that are not simply in use, by id: `resting` or `trial`."""
    now = time.monotonic()
    known = parts.health.view(now).candidates
    found = dict.fromkeys(parts.health.resting(now), "resting")
    trials = [id_ for id_, health in known.items() if health.state == "half_open"]
    return found | dict.fromkeys(trials, "trial")


def _upstreams(parts: Parts) -> Iterator[tuple[str, str, float]]:
    found = states(parts)
    for candidate in candidates(parts):
        state = found.get(candidate.id)
        up = 1.0 if state is None else 0.5 if state == "trial" else 0.0
        yield candidate.endpoint.id, candidate.model.id, up


def _credentials(parts: Parts) -> Iterator[tuple[str, str, str, float]]:
    now = time.monotonic()
    for each in parts.health.view(now).credentials:
        yield each.candidate, each.credential, each.reason, each.resting_until - now
