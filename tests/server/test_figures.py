"""One request worked out by hand: the answer, the access line, the books and the metrics tell the same."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lowproxy.core.eco_block import six
from tests.fakes import Answer, openai_completion
from tests.gateway import ask, asking, gateway_over
from tests.sse_reader import read_chunks

OPEN = """
[[models]]
id = "acme/open"
provider = "p1"
price_prompt = 0.7
price_completion = 1.3
price_cached = 0.1
total_params_b = 24
weight_bits = 8
params_source = "https://example.org/open"
"""
USAGE = {
    "prompt_tokens": 1100,
    "completion_tokens": 250,
    "total_tokens": 1350,
    "prompt_tokens_details": {"cached_tokens": 300},
}
# METHODOLOGY.md's formula for 24 billion parameters of a byte each, in mWh of the accelerators.
MOVED = 0.0811 * 24 / 64 + 0.0501 * 60e-6 * 24**0.36 * (1100 + 250 / 2)
WRITTEN = (MOVED + 0.000741 * 24 + 0.0121) * 250
READ = 0.001 * 24 * (800 + 300 * 0.1)
WH = 1.2 * 1.6 * (WRITTEN + READ) / 1000
GRAMS = WH * 41.44 / 1000  # France, a year's mean
# Per million tokens: 800 at 0.7, 300 at 0.1, 250 at 1.3.
NANO = 560_000 + 30_000 + 325_000


@pytest.mark.parametrize("streamed", [False, True])
async def test_everywhere_the_same(tmp_path, upstream, log_text, streamed):
    """To the digits that each place has."""
    upstream.script = [Answer.of({**openai_completion(), "usage": USAGE})]
    if streamed:
        chunk = {"object": "chat.completion.chunk", "id": "x", "created": 1}
        ends = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
        last = {**chunk, "model": "m", "choices": [ends], "usage": USAGE}
        event = b"data: %b\n\n" % json.dumps(last).encode()
        upstream.script = [Answer.stream(event, b"data: [DONE]\n\n")]
    body = asking(model="acme/open") if streamed else ask(model="acme/open")
    async with gateway_over(tmp_path, upstream, extra=OPEN) as gateway:
        told = await gateway.chat(body)
        record = await gateway.books.record()
        ledger, impact = gateway.parts.ledger, record.impact
        assert ledger and impact and record.key_id
        ledger.flush()
        row = ledger.find(record.generation_id, record.key_id)
        assert row is not None
        scrape = (await gateway.admin("/metrics")).body.decode()

    if streamed:
        chunks = [each for each in read_chunks(told.body) if each != "[DONE]"]
        (block,) = [each["lowrouter"] for each in chunks if "lowrouter" in each]
    else:
        block = told.json()["lowrouter"]
    assert block["eco"]["energy_wh"] == six(impact.energy_wh)
    assert block["eco"]["energy_wh"] == pytest.approx(WH, rel=1e-5)
    assert block["eco"]["carbon_g"] == pytest.approx(GRAMS, rel=1e-5)
    assert block["eco"]["carbon_per_1k_tokens_g"] == pytest.approx(GRAMS / 1.35, 1e-5)
    assert block["cost"] == NANO / 1e9

    (line,) = map(json.loads, log_text().splitlines())
    for name in ("energy_wh", "carbon_g"):
        assert line[name] == line["eco"][name] == block["eco"][name]
        assert six(row[name]) == block["eco"][name]
        assert row[name] == getattr(impact, name)
    assert line["cost"] == block["cost"]
    assert (line["prompt_tokens"], line["completion_tokens"]) == (1100, 250)
    assert line["cached_tokens"] == 300

    assert (row["cost_nano"], row["currency"]) == (NANO, "USD")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (1100, 250)
    assert (row["cached_tokens"], row["total_tokens"]) == (300, 1350)

    samples = {
        (sample.name, sample.labels.get("kind")): sample.value
        for family in text_string_to_metric_families(scrape)
        for sample in family.samples
    }
    assert samples["lowproxy_energy_watt_hours_total", None] == row["energy_wh"]
    assert samples["lowproxy_carbon_grams_total", None] == row["carbon_g"]
    assert samples["lowproxy_cost_total", None] == NANO / 1e9
    kinds = ("prompt", "completion", "cached")
    counts = [samples["lowproxy_tokens_total", kind] for kind in kinds]
    assert counts == [1100, 250, 300]
