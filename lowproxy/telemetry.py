"""Traces and metrics for OpenTelemetry, where the environment asks for them: what the gateway sees of it.

Who wants it installs `lowproxy[otel]` and sets OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`
and the rest). Everybody else pays one test for None per request, and imports nothing.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import structlog

from lowproxy.core.record import UsageRecord

log = structlog.get_logger("lowproxy.telemetry")

SIGNALS = ("traces", "metrics")
# What has not been exported by then, as the gateway stops, is lost.
LAST_S = 5.0

Gauges = Mapping[str, Callable[[], float]]


class Span(Protocol):
    """The place of one request in a trace, from its beginning."""

    def fields(self) -> list[tuple[str, str]]:
        """`traceparent` and `tracestate` for the upstream."""


class Telemetry(Protocol):
    """Where spans and measurements go."""

    def begin(self, fields: Mapping[str, str]) -> Span:
        """A request with these header fields begins."""

    def write(self, span: Any, record: UsageRecord, attempts_s: list[float]) -> None:
        """It is over; `attempts_s` are the seconds that each attempt took."""

    def close(self) -> None:
        """Exports what waits; may take long."""


def wanted(environ: Mapping[str, str]) -> list[str]:
    """The signals that the environment asks for, in OpenTelemetry's words: traces, metrics."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    found = []
    for signal in SIGNALS:
        name = signal.upper()
        exporter = environ.get(f"OTEL_{name}_EXPORTER", "").strip()
        has_place = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get(
            f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT"
        )
        if exporter == "otlp" or (has_place and not exporter):
            found.append(signal)
    return found


@asynccontextmanager
async def running_telemetry(
    environ: Mapping[str, str], gauges: Gauges
) -> AsyncIterator[Telemetry | None]:
    """Telemetry until left; None where nobody asks for it. `gauges` are read at each export."""
    signals = wanted(environ)
    if not signals:
        yield None
        return
    try:
        from lowproxy.otel import OpenTelemetry
    except ImportError as exc:
        missing = exc.name
        log.error("telemetry.missing", module=missing, remedy="install lowproxy[otel]")
        yield None
        return
    telemetry = OpenTelemetry(signals, gauges)
    try:
        yield telemetry
    finally:
        await _close(telemetry)


async def _close(telemetry: Telemetry) -> None:
    """In a thread that the end of the process does not wait for: a receiver may hang."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def close() -> None:
        try:
            telemetry.close()
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=close, name="telemetry", daemon=True).start()
    try:
        async with asyncio.timeout(LAST_S):
            await done.wait()
    except TimeoutError:
        log.warning("telemetry.unsent", waited_s=LAST_S)
