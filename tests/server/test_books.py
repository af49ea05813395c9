"""What is written down of a request: one line, the metrics, nothing of its text."""

import json

import pytest

from tests.fakes import Answer, openai_chunk, sse
from tests.gateway import MODEL, asking


def lines(text):
    """The access lines."""
    return [json.loads(line) for line in text.splitlines()]


async def test_one_line_per_request(serve, upstream, log_text):
    """Facts as keys: who, what, where, how long, how many tokens, how much carbon."""
    gateway = await serve(upstream)
    await gateway.chat()
    record = await gateway.books.record()
    (line,) = lines(log_text())
    assert line["event"] == "request.done"
    assert line["level"] == "info"
    assert line["generation_id"] == record.generation_id
    assert line["endpoint"] == "chat"
    assert (line["http_status"], line["status"]) == (200, "ok")
    assert line["key"] == "LOWROUTER_API_KEY"
    assert (line["model"], line["provider"], line["region"]) == (MODEL, "p1", "eu-west")
    assert (line["prompt_tokens"], line["completion_tokens"]) == (9, 3)
    assert line["energy_wh"] > 0
    assert line["carbon_g"] > 0
    assert line["attempts"] == 1
    assert line["duration_ms"] >= line["first_byte_ms"]
    assert "error" not in line


async def test_small_figures_are_not_rounded_away(serve, upstream, log_text):
    """A request of a few tokens is microwatt-hours: still not nought, and right."""
    gateway = await serve(upstream)
    await gateway.chat()
    record = await gateway.books.record()
    (line,) = lines(log_text())
    for name in ("energy_wh", "carbon_g"):
        exact = getattr(record.impact, name)
        assert abs(line[name] - exact) <= exact * 1e-3


async def test_a_line_for_every_outcome(serve, upstream, log_text):
    """Refused, failed, cut: each with its code."""
    gateway = await serve(upstream)
    word = sse(openai_chunk("a"), done=False)
    upstream.script = [Answer.stream(word, cut=True), Answer.of({}, 500)]
    await gateway.chat(asking())
    await gateway.chat()
    await gateway.chat(b"{")
    cut, failed, refused = lines(log_text())
    assert (cut["http_status"], cut["error"]) == (200, "upstream_cut")
    assert cut["status"] == failed["status"] == "upstream_error"
    assert (failed["http_status"], failed["error"]) == (502, "upstream_status")
    assert (refused["status"], refused["error"]) == ("client_error", "invalid_request")
    assert "model" not in refused


async def test_many_are_written_down_at_once(serve, upstream, log_text, monkeypatch):
    """However many requests end, few wait to be written down."""
    monkeypatch.setattr("lowproxy.server.books.DELAY_S", 3600.0)
    monkeypatch.setattr("lowproxy.server.books.TOGETHER", 3)
    gateway = await serve(upstream)
    for _ in range(4):
        await gateway.chat()
    assert len(lines(log_text())) == 3


async def test_access_lines_can_be_turned_off(serve, upstream, log_text):
    """`log.access = false`; the metrics are counted all the same."""
    gateway = await serve(upstream, extra="[log]\naccess = false")
    await gateway.chat()
    await gateway.books.record()
    assert log_text() == ""
    assert b'endpoint="chat"' in (await gateway.admin("/metrics")).body


async def test_a_cut_stream_is_weighed(serve, upstream):
    """Energy was spent on what came: it is in the record."""
    word = sse(openai_chunk("a" * 100), done=False)
    upstream.script = [Answer.stream(word, word, cut=True)]
    gateway = await serve(upstream)
    await gateway.chat(asking())
    record = await gateway.books.record()
    assert record.usage.counted
    assert record.impact.tokens == record.usage


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_name_that_fills_the_body_is_not_kept(serve, upstream, streamed):
    """Hundreds of records are in memory, and more wait for the database."""
    gateway = await serve(upstream)
    asked = "acme/" + "x" * 1_000_000
    told = await gateway.chat({**asking(stream=streamed), "model": asked})
    record = await gateway.books.record()
    assert told.status == 404
    assert len(told.body) < 10_000
    assert record.requested_model == asked[:200]
