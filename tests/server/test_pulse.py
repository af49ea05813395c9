"""The loop's lag, and what metrics ask of the running parts."""

import asyncio
from typing import Any, cast

from lowproxy.metrics import Metrics
from lowproxy.server.pulse import EVERY_S, Pulse
from tests.fakes import Answer, default_stream
from tests.gateway import MODEL, asking


class FakeLoop:
    """Timers that fire when told, as late as told."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def time(self):
        return self.now

    def call_at(self, when, call, *args):
        self.timers.append((when, call, args))
        return self

    def cancel(self):
        self.timers.clear()

    def fire(self, late_s):
        when, call, args = self.timers.pop()
        self.now = when + late_s
        call(*args)


def test_the_lag_is_how_late_the_timer_fires():
    """Once a second, and each beat is due a second after the last one fired."""
    metrics, loop = Metrics(), FakeLoop()
    pulse = Pulse(metrics, cast(Any, loop))
    pulse.start()
    for late_s in (0.0, 0.03, 2.0):
        assert loop.timers[0][0] == loop.now + EVERY_S
        loop.fire(late_s)
    lag = metrics.loop_lag_s
    assert (sum(lag.counts), round(lag.total, 6), round(lag.last, 6)) == (3, 2.03, 2.0)
    pulse.stop()
    assert not loop.timers


async def test_open_streams_are_seen(serve, upstream):
    """From the first byte to the end, however it ends."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(default_stream()[0], gate)]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post("/v1/chat/completions", asking())
        told = (await gateway.admin("/metrics")).body
        assert b"lowproxy_open_streams 1.0" in told
        gate.set()
        await reply.rest()
    await gateway.books.record()
    assert b"lowproxy_open_streams 0.0" in (await gateway.admin("/metrics")).body


async def test_health_is_told_per_endpoint_and_model(serve, upstream, other):
    """A candidate that keeps failing rests; the other is in use."""
    upstream.script = [Answer.of({}, status=500) for _ in range(20)]
    gateway = await serve(upstream, other)
    for _ in range(6):
        await gateway.chat()
    told = (await gateway.admin("/metrics")).body.decode()
    for place, up in (("p1", "0.0"), ("p2", "1.0")):
        labels = f'endpoint="{place}-eu-west",model="{MODEL}"'
        assert f"lowproxy_upstream_health{{{labels}}} {up}" in told
    assert 'lowproxy_queue_depth{queue="aftermath"} 0.0' in told
