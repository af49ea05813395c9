"""A receiver of OTLP over HTTP on 127.0.0.1 that keeps what it is sent."""

import asyncio
import gzip
import zlib
from collections.abc import Iterable
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from tests.fakes import Tally


class Receiver:
    """`async with Receiver() as otlp`: spans and metrics, as protobuf messages."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resources: list[dict[str, Any]] = []
        self.raw = b""
        self.arrived = Tally()
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/traces", self._traces)
        app.router.add_post("/v1/metrics", self._metrics)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None, "entered before"
        await self._runner.cleanup()

    async def _body(self, request: web.Request) -> bytes:
        body = await request.read()
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        elif request.headers.get("Content-Encoding") == "deflate":
            body = zlib.decompress(body)
        self.raw += body
        return body

    async def _traces(self, request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest.FromString(await self._body(request))
        for resource in told.resource_spans:
            self.resources.append(attributes(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans += scope.spans
        self.arrived.hit()
        return web.Response(content_type="application/x-protobuf")

    async def _metrics(self, request: web.Request) -> web.Response:
        told = ExportMetricsServiceRequest.FromString(await self._body(request))
        for resource in told.resource_metrics:
            for scope in resource.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}
        self.arrived.hit()
        return web.Response(content_type="application/x-protobuf")

    def span(self, kind: int) -> Any:
        """The one span of a kind: 2 is a server's, 3 a client's."""
        (found,) = [span for span in self.spans if span.kind == kind]
        return found


SERVER, CLIENT = 2, 3


def attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """Key-value pairs as a dictionary."""
    return {
        pair.key: getattr(pair.value, str(pair.value.WhichOneof("value")))
        for pair in pairs
    }


async def served(receiver: Receiver, number: int = 1) -> None:
    """Returns when so many exports have come."""
    async with asyncio.timeout(10):
        await receiver.arrived.wait(number)
