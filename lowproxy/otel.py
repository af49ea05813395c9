"""OpenTelemetry's SDK, fed from finished requests. Imported only where the environment asks for it.

Spans are made when the books are written, from the record: nothing lives while a request does but two
numbers. They are two per request: what the caller asked of us (server) and what we asked of a provider
(client), named and described by the conventions for generative AI. No prompt, no answer, no key, no text of
a caller: names of the configuration and numbers.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from lowproxy import __version__
from lowproxy.core import semconv
from lowproxy.core.record import UsageRecord
from lowproxy.tally import is_failure, token_time_ms

_CONTEXT_FIELDS = ("traceparent", "tracestate")
Attributes = dict[str, str | bool | int | float]


class Started:
    """One request's place in its trace: who asked, and the ids of the two spans that will be made."""

    __slots__ = ("client_id", "context", "sampled", "server_id", "state", "trace_id")

    def __init__(
        self, context: Context, trace_id: int, sampled: bool, state: str
    ) -> None:
        self.context, self.trace_id, self.sampled = context, trace_id, sampled
        self.state = state  # the `tracestate` to pass on
        self.server_id, self.client_id = _bits(64), _bits(64)

    def fields(self) -> list[tuple[str, str]]:
        """What the upstream is told: it is asked by our client span."""
        parent = f"00-{self.trace_id:032x}-{self.client_id:016x}-{self.sampled:02x}"
        fields = [("traceparent", parent)]
        return [*fields, ("tracestate", self.state)] if self.state else fields


class OpenTelemetry:
    """Spans and measurements of finished requests, exported by OTLP over HTTP in threads of the SDK."""

    def __init__(
        self, signals: Sequence[str], gauges: Mapping[str, Callable[[], float]]
    ) -> None:
        named = {"service.name": "lowrouter", "service.version": __version__}
        # What the environment says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) goes before.
        resource = Resource(named).merge(_of_environment())
        self._ids = _Ids()
        self._traces = TracerProvider(
            resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._tracer = self._traces.get_tracer("lowproxy", __version__)
        self._exports_traces = "traces" in signals
        if self._exports_traces:
            self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        readers = []
        if "metrics" in signals:
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        self._metrics = MeterProvider(
            metric_readers=readers, resource=resource, shutdown_on_exit=False
        )
        self._measures = _Measures(self._metrics, gauges) if readers else None
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, fields: Mapping[str, str]) -> Started:
        """Takes the caller's trace context, or begins a trace; samples as `OTEL_TRACES_SAMPLER` says."""
        carrier = {n: v for n in _CONTEXT_FIELDS if (v := fields.get(n)) is not None}
        context = self._propagator.extract(carrier, Context())
        parent = trace.get_current_span(context).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else _bits(128)
        sampled = self._traces.sampler.should_sample(
            context, trace_id, "request", SpanKind.SERVER
        )
        state = parent.trace_state.to_header() if parent.is_valid else ""
        is_sampled = (
            self._exports_traces and sampled.decision is Decision.RECORD_AND_SAMPLE
        )
        return Started(context, trace_id, is_sampled, state)

    def write(
        self, span: Started, record: UsageRecord, attempts_s: list[float]
    ) -> None:
        """Makes what is to be exported of one request."""
        if self._measures is not None:
            self._measures.take(record)
        if not span.sampled:
            return
        ids = self._ids
        ids.trace_id, ids.span_id = span.trace_id, span.server_id
        began, ended = _ns(record.created_at), _ns(record.completed_at)
        server = self._tracer.start_span(
            f"POST {record.endpoint}" if record.provider else record.endpoint,
            span.context,
            SpanKind.SERVER,
            server_attributes(record),
            start_time=began,
        )
        if record.provider is not None and record.attempts:
            ids.span_id = span.client_id
            client = self._tracer.start_span(
                f"{semconv.operation(record.endpoint)} {record.resolved_model}",
                trace.set_span_in_context(server, Context()),
                SpanKind.CLIENT,
                client_attributes(record),
                start_time=began,
            )
            at = record.created_at
            for (candidate, outcome), took_s in zip(
                record.attempts, attempts_s, strict=False
            ):
                at += took_s
                about = {"candidate": candidate, "outcome": outcome}
                client.add_event("lowrouter.attempt", about, _ns(at))
            _end(client, record, ended)
        _end(server, record, ended)

    def close(self) -> None:
        """Exports what waits, and ends the SDK's threads."""
        self._traces.shutdown()
        self._metrics.shutdown()


class _Ids(IdGenerator):
    """Gives the ids that were drawn when the request began."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Measures:
    """The conventions' histograms, and what of energy, carbon and cost they have no names for."""

    def __init__(
        self, provider: MeterProvider, gauges: Mapping[str, Callable[[], float]]
    ) -> None:
        meter = provider.get_meter("lowproxy", __version__)

        def histogram(name: str, unit: str, bounds: Sequence[float]) -> Histogram:
            return meter.create_histogram(
                name, unit, explicit_bucket_boundaries_advisory=bounds
            )

        self._tokens = histogram("gen_ai.client.token.usage", "{token}", semconv.TOKENS)
        self._duration = histogram(
            "gen_ai.client.operation.duration", "s", semconv.DURATION_S
        )
        self._first = histogram(
            "gen_ai.client.operation.time_to_first_chunk", "s", semconv.FIRST_TOKEN_S
        )
        self._gap = histogram(
            "gen_ai.server.time_per_output_token", "s", semconv.OUTPUT_TOKEN_S
        )
        self._energy = meter.create_counter("lowrouter.energy", "W.h")
        self._carbon = meter.create_counter("lowrouter.carbon", "g")
        self._cost = meter.create_counter("lowrouter.cost", "{currency}")
        for name, read in gauges.items():
            meter.create_observable_gauge(f"lowrouter.{name}", [_observing(read)])

    def take(self, record: UsageRecord) -> None:
        """The measurements of one request that reached a provider."""
        operation = semconv.operation(record.endpoint)
        if record.provider is None or operation is None:
            return
        alike = _names(record)
        ended: Attributes = {"error.type": record.error} if record.error else {}
        self._duration.record(record.duration_ms / 1000, {**alike, **ended})
        if record.streamed and record.latency_ms is not None:
            self._first.record(record.latency_ms / 1000, alike)
        gap_ms = token_time_ms(record)
        if gap_ms is not None:
            self._gap.record(gap_ms / 1000, alike)
        if record.usage is not None:
            for kind, count in (
                ("input", record.usage.prompt),
                ("output", record.usage.completion),
            ):
                self._tokens.record(count, {**alike, "gen_ai.token.type": kind})
        place = {**alike, "lowrouter.region": record.region or "none"}
        if record.impact is not None:
            self._energy.add(record.impact.energy_wh, place)
            self._carbon.add(record.impact.carbon_g, place)
        if record.cost_nano and record.currency:
            money = {**place, "lowrouter.currency": record.currency}
            self._cost.add(record.cost_nano / 1e9, money)


def server_attributes(record: UsageRecord) -> Attributes:
    """What the caller asked of us, and what it got."""
    return _known(
        {
            "http.response.status_code": record.http_status,
            "error.type": record.error,
            "lowrouter.endpoint": record.endpoint,
            "lowrouter.generation_id": record.generation_id,
            "lowrouter.key": record.key_id,
            "lowrouter.status": record.status,
        }
    )


def client_attributes(record: UsageRecord) -> Attributes:
    """What we asked of a provider, in the conventions' words where they have some."""
    usage, impact, first_ms = record.usage, record.impact, record.latency_ms
    known = _known(
        {
            "error.type": record.error,
            "gen_ai.response.time_to_first_chunk": first_ms / 1000
            if record.streamed and first_ms is not None
            else None,
            "lowrouter.generation_id": record.generation_id,
            "lowrouter.region": record.region,
            "lowrouter.streamed": record.streamed,
            "lowrouter.cost": None
            if record.cost_nano is None
            else record.cost_nano / 1e9,
            "lowrouter.currency": record.currency,
        }
    )
    known |= _names(record)
    if usage is not None:
        known["gen_ai.usage.input_tokens"] = usage.prompt
        known["gen_ai.usage.output_tokens"] = usage.completion
        known["gen_ai.usage.cache_read.input_tokens"] = usage.cached
    if impact is not None:
        known["lowrouter.energy_wh"] = impact.energy_wh
        known["lowrouter.carbon_g"] = impact.carbon_g
        known["lowrouter.accuracy"] = impact.accuracy
        known["lowrouter.methodology_version"] = impact.methodology_version
        known["lowrouter.zone"] = impact.grid.zone
    return known


def _names(record: UsageRecord) -> Attributes:
    """What measurements and spans of the same kind have in common: all of it from the configuration."""
    model = record.resolved_model or "none"
    return {
        "gen_ai.operation.name": semconv.operation(record.endpoint) or record.endpoint,
        "gen_ai.provider.name": semconv.provider(record.provider or "none"),
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
    }


def _end(span: trace.Span, record: UsageRecord, ended: int) -> None:
    if is_failure(record.status):
        span.set_status(Status(StatusCode.ERROR, record.error))
    span.end(ended)


def _known(attributes: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}


def _observing(
    read: Callable[[], float],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(read())]


def _of_environment() -> Resource:
    made = Resource.create()
    unnamed = str(made.attributes.get("service.name", "")).startswith("unknown_service")
    return Resource(
        {
            n: v
            for n, v in made.attributes.items()
            if not (unnamed and n == "service.name")
        }
    )


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _bits(number: int) -> int:
    """Random, and not zero, which would be no id."""
    return random.getrandbits(number) or 1
