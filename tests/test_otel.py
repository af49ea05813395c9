"""What is exported to OpenTelemetry, by the real SDK to a receiver on this machine."""

import logging

import pytest

from lowproxy.core.headers import UP
from tests.fakes import Answer, FakeUpstream
from tests.gateway import (
    CHAT,
    KEY,
    MODEL,
    ask,
    asking,
    gateway_over,
    provider_key,
    uvloop_factories,
)
from tests.otlp import CLIENT, SERVER, Receiver, attributes

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CANARY = "canary words of a prompt"


def pytest_asyncio_loop_factories():
    """uvloop, as `lowproxy serve` picks it."""
    return uvloop_factories()


@pytest.fixture
async def otlp(monkeypatch):
    """A receiver, and an environment that names it."""
    async with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


async def one(tmp_path, upstream, body=None, **headers):
    """A gateway's life around one request; what the upstream was sent."""
    async with gateway_over(tmp_path, upstream) as gateway, gateway.caller() as caller:
        reply = await caller.post(CHAT, body or ask(), headers=headers)
        await reply.rest()
        await gateway.books.record()
    return {name.lower(): value for name, value in upstream.seen[-1].headers}


async def test_two_spans_of_a_request(tmp_path, otlp, upstream):
    """What the caller asked of us, and within it what we asked of a provider, in the conventions' words."""
    await one(tmp_path, upstream, asking(usage=True))
    server, client = otlp.span(SERVER), otlp.span(CLIENT)
    assert (server.name, client.name) == ("POST chat", f"chat {MODEL}")
    assert client.trace_id == server.trace_id
    assert client.parent_span_id == server.span_id
    assert not server.parent_span_id
    assert server.start_time_unix_nano <= server.end_time_unix_nano
    about = attributes(client.attributes)
    assert about["gen_ai.operation.name"] == "chat"
    assert about["gen_ai.provider.name"] == "p1"
    assert about["gen_ai.response.model"] == MODEL
    assert about["gen_ai.usage.input_tokens"] == 9
    assert about["gen_ai.usage.output_tokens"] == 3
    assert about["gen_ai.response.time_to_first_chunk"] > 0
    assert about["lowrouter.carbon_g"] > 0
    assert about["lowrouter.region"] == "eu-west"
    assert attributes(server.attributes)["http.response.status_code"] == 200
    (event,) = client.events
    assert attributes(event.attributes)["outcome"] == "ok"
    assert otlp.resources[0]["service.name"] == "lowrouter"


async def test_the_callers_trace_goes_on(tmp_path, otlp, upstream):
    """Through us: the caller's span asks ours, ours asks the upstream; its state is passed on."""
    sent = await one(
        tmp_path,
        upstream,
        traceparent=f"00-{TRACE}-{PARENT}-01",
        tracestate="acme=1,other=2",
    )
    server, client = otlp.span(SERVER), otlp.span(CLIENT)
    assert server.trace_id.hex() == TRACE
    assert server.parent_span_id.hex() == PARENT
    assert sent["traceparent"] == f"00-{TRACE}-{client.span_id.hex()}-01"
    assert sent["tracestate"] == "acme=1,other=2"


async def test_who_is_not_sampled_is_not_exported(tmp_path, otlp, upstream):
    """The caller's flag decides, and is passed on."""
    sent = await one(tmp_path, upstream, traceparent=f"00-{TRACE}-{PARENT}-00")
    assert sent["traceparent"].startswith(f"00-{TRACE}-")
    assert sent["traceparent"].endswith("-00")
    assert PARENT not in sent["traceparent"]
    assert otlp.spans == []


async def test_the_environments_sampler_decides(tmp_path, otlp, upstream, monkeypatch):
    """Where the caller brings no trace."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    sent = await one(tmp_path, upstream)
    assert sent["traceparent"].endswith("-00")
    assert otlp.spans == []


@pytest.mark.parametrize(
    "parent", ["nonsense", f"00-{TRACE}-{PARENT}", "00-" + "0" * 32 + f"-{PARENT}-01"]
)
async def test_what_is_no_context_begins_a_trace(tmp_path, otlp, upstream, parent):
    """As the standard says."""
    sent = await one(tmp_path, upstream, traceparent=parent)
    assert sent["traceparent"] != parent
    assert not otlp.span(SERVER).parent_span_id


async def test_failures_are_said(tmp_path, otlp):
    """On both spans, with each attempt; a caller's mistake is no error of ours."""
    async with FakeUpstream() as first, FakeUpstream() as second:
        first.script = [Answer.of({}, status=500)]
        second.script = [Answer.of({}, status=500)]
        async with gateway_over(tmp_path, first, second) as gateway:
            await gateway.chat()
            await gateway.chat(ask(model="nobody/nothing"))
    client = otlp.span(CLIENT)
    assert client.status.code == 2
    assert attributes(client.attributes)["error.type"] == "upstream_status"
    assert [attributes(e.attributes)["outcome"] for e in client.events] == [
        "upstream_status",
        "upstream_status",
    ]
    failed, mistaken = [span for span in otlp.spans if span.kind == SERVER]
    assert (failed.status.code, mistaken.status.code) == (2, 0)
    assert attributes(mistaken.attributes)["error.type"] == "model_not_found"


async def test_metrics(tmp_path, otlp, upstream):
    """The conventions' histograms with their bounds, energy and carbon, and what is open."""
    await one(tmp_path, upstream, asking(usage=True))
    tokens = otlp.metrics["gen_ai.client.token.usage"].histogram
    by_type = {
        attributes(point.attributes)["gen_ai.token.type"]: point
        for point in tokens.data_points
    }
    assert {kind: point.sum for kind, point in by_type.items()} == {
        "input": 9,
        "output": 3,
    }
    assert list(by_type["input"].explicit_bounds)[:3] == [1, 4, 16]
    assert {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.server.time_per_output_token",
        "lowrouter.energy",
        "lowrouter.carbon",
        "lowrouter.open_streams",
    } <= set(otlp.metrics)


async def test_no_text_and_no_key_leaves(tmp_path, otlp, upstream):
    """Neither the prompt, nor the answer, nor a credential, nor a model's name that a caller made up."""
    async with gateway_over(tmp_path, upstream) as gateway:
        said = [{"role": "user", "content": CANARY}]
        for model in (MODEL, "canary/model"):
            await gateway.chat(ask(model, messages=said, user="canary user"))
    assert otlp.spans
    assert otlp.metrics
    for secret in (CANARY, "canary", "Hello there", KEY, provider_key("p1")):
        assert secret.encode() not in otlp.raw


async def test_off_is_untouched(tmp_path, upstream):
    """Without the environment's wish the caller's context passes as it came."""
    sent = await one(tmp_path, upstream, traceparent="any thing", tracestate="acme=1")
    assert "traceparent" in UP
    assert (sent["traceparent"], sent["tracestate"]) == ("any thing", "acme=1")


async def test_a_receiver_that_is_not_there_harms_nobody(
    tmp_path, upstream, monkeypatch, caplog
):
    """Requests are served, and the gateway ends in time."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("lowproxy.telemetry.LAST_S", 0.2)
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    async with gateway_over(tmp_path, upstream) as gateway:
        assert (await gateway.chat()).status == 200
