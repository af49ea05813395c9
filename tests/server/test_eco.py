"""The eco block of an answer: what the upstream measured, how much is told, what is kept."""

import asyncio
import json
from typing import Any

import attrs
import pytest

from lowproxy.catalogue import open_config
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.server import relay
from tests.fakes import Answer, openai_chunk, openai_completion, sse, usage_chunk
from tests.gateway import CHAT, KEY, MODEL, Place, ask, asking
from tests.sse_reader import read_chunks

TEXT = sse(openai_chunk("Hello"), done=False)
FINISH = sse(openai_chunk(finish_reason="stop"), done=False)
USAGE = sse(usage_chunk(), done=False)
DONE = b"data: [DONE]\n\n"

NEURALWATT = {"energy_joules": 3.6, "attribution_method": "prorated", "grid_id": "FI"}
ENERGY = b': energy {"energy_joules": 3.6, "grid_id": "FI"}\n\n'
GREENPT = {
    "inferenceTime": {"total": 512, "unit": "ms"},
    "energy": {"total": 3600, "unit": "Wms"},
    "emissions": {"total": 41, "unit": "ugCO2e"},
    "version": "20250922",
}
FIVE = {
    "energy_wh",
    "carbon_g",
    "carbon_per_1k_tokens_g",
    "accuracy",
    "methodology_version",
}
LATE = "reports_energy_late = true"
FULL: dict[str, Any] = {"route": {"eco": "full"}}
# A model of which all is published.
OPEN = """
[[models]]
id = "acme/open"
provider = "p1"
total_params_b = 24
weight_bits = 8
params_source = "https://example.org/open"
"""
# A model whose size nobody knows.
UNKNOWN = '[[models]]\nid = "acme/unheard-of"\nprovider = "p1"'


def eco_of(out: bytes) -> dict[str, Any]:
    """The one eco block of a stream."""
    (block,) = [
        chunk["lowrouter"]["eco"]
        for chunk in read_chunks(out)
        if chunk != "[DONE]" and "lowrouter" in chunk
    ]
    assert isinstance(block, dict)
    return block


def whole_eco_of(body: bytes) -> dict[str, Any]:
    """The eco block of a unary answer, which may hold numbers beyond a double."""
    block = json.loads(body)["lowrouter"]["eco"]
    assert isinstance(block, dict)
    return block


async def told(gateway, upstream, answer, **fields):
    """The block of one answer, unary or streamed as `fields` ask, and its record."""
    upstream.script.append(answer)
    number = len(gateway.books.records) + 1
    reply = await gateway.chat(ask(**fields))
    assert reply.status == 200
    is_stream = fields.get("stream")
    block = eco_of(reply.body) if is_stream else whole_eco_of(reply.body)
    return block, await gateway.books.record(number)


# --- measured beats estimated ---------------------------------------------------------


async def test_neuralwatt_unary(serve, upstream):
    """Its joules, scaled to the facility; its own member stays in the answer."""
    gateway = await serve(upstream)
    answer = Answer.of(openai_completion(energy=NEURALWATT))
    block, record = await told(gateway, upstream, answer, **FULL)
    assert block["energy_wh"] == pytest.approx(0.001 * 1.6 * 1.2)
    assert block["carbon_g"] == pytest.approx(0.00192 * 41.44 / 1000, rel=1e-3)
    assert block["method"] == "measured_scaled"
    assert block["accuracy"] == "accurate"
    assert block["measured"] == {
        "source": "neuralwatt",
        "energy_wh": 0.001,
        "boundary": "gpu",
        "zone": "FI",
    }
    assert record.impact.energy_wh == pytest.approx(0.00192)
    upstream.script.append(answer)
    assert (await gateway.chat()).json()["energy"] == NEURALWATT


async def test_neuralwatt_streamed(serve, upstream):
    """Its comment comes behind the usage: the final chunk has waited for it."""
    gateway = await serve(Place(upstream, options=LATE))
    answer = Answer.stream(TEXT, FINISH, USAGE, ENERGY, DONE)
    block, record = await told(gateway, upstream, answer, **asking(**FULL))
    assert block["method"] == "measured_scaled"
    assert block["energy_wh"] == pytest.approx(0.00192)
    assert record.impact.method == "measured_scaled"


async def test_usage_that_was_asked_for_does_not_wait(serve, upstream):
    """It is the final chunk, with the estimate; the record has the comment behind it."""
    gateway = await serve(Place(upstream, options=LATE))
    more = asyncio.Event()
    answer = Answer.stream(TEXT, FINISH, USAGE, more, ENERGY, DONE)
    upstream.script.append(answer)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking(usage=True, **FULL))
        last = [await reply.event() for _ in range(3)][-1]
        assert eco_of(last)["method"] == "estimated"
        more.set()
        assert await reply.rest() == ENERGY + DONE
    assert (await gateway.books.record()).impact.method == "measured_scaled"


def test_the_catalogue_knows_who_is_late_and_the_operator_better(tmp_path):
    """`reports_energy_late` is an option of any provider's row."""
    rows = """
    [[providers]]
    id = "neuralwatt"
    reports_energy_late = false
    """
    file = tmp_path / "lowproxy.toml"
    environ = {"NEURALWATT_API_KEY": KEY, "LOWROUTER_API_KEY": KEY}
    found = []
    for text in ("", rows):
        file.write_text(text)
        _, catalogue = open_config(file, environ)
        found.append([each.energy_late for each in catalogue.providers])
    assert found == [[True], [False]]


async def test_a_late_comment_of_anybody_else_reaches_the_record(serve, upstream):
    """The final chunk does not wait for what nobody announced."""
    gateway = await serve(upstream)
    answer = Answer.stream(TEXT, FINISH, USAGE, ENERGY, DONE)
    block, record = await told(gateway, upstream, answer, **asking(**FULL))
    assert block["method"] == "estimated"
    assert record.impact.method == "measured_scaled"
    assert record.impact.energy_wh == pytest.approx(0.00192)


async def test_a_comment_behind_the_held_chunk_is_in_time(serve, upstream):
    """Whoever sends it before the usage needs no announcement; it passes untouched."""
    gateway = await serve(upstream)
    upstream.script.append(Answer.stream(TEXT, FINISH, ENERGY, USAGE, DONE))
    reply = await gateway.chat(asking(**FULL))
    assert eco_of(reply.body)["method"] == "measured_scaled"
    assert reply.body.endswith(ENERGY + DONE)


async def test_the_wait_for_a_comment_has_an_end(serve, upstream, monkeypatch):
    """One that never comes keeps nobody: the estimate leaves in its stead."""
    monkeypatch.setattr(relay, "HOLD_S", 0.0)
    gateway = await serve(Place(upstream, options=LATE))
    more = asyncio.Event()
    upstream.script.append(Answer.stream(TEXT, FINISH, USAGE, more, ENERGY, DONE))
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking(**FULL))
        first, last = await reply.event(), await reply.event()
        more.set()
        assert await reply.rest() == ENERGY + DONE
    assert eco_of(first + last)["method"] == "estimated"
    assert (await gateway.books.record()).impact.method == "measured_scaled"


@pytest.mark.parametrize("streamed", [False, True])
async def test_greenpt(serve, upstream, streamed):
    """Watt-milliseconds in `impact`, in the answer or in its last chunk."""
    gateway = await serve(upstream)
    last = sse({**usage_chunk(), "impact": GREENPT}, done=True)
    whole = Answer.of(openai_completion(impact=GREENPT))
    answer = Answer.stream(TEXT, FINISH, last) if streamed else whole
    block, _ = await told(gateway, upstream, answer, stream=streamed, **FULL)
    assert block["energy_wh"] == 0.001
    assert block["method"] == "measured"
    assert block["accuracy"] == "medium"
    assert block["measured"]["carbon_g"] == pytest.approx(4.1e-5)


async def test_joules_in_the_head(serve, upstream):
    """Cooling included, so as they are."""
    gateway = await serve(upstream)
    answer = Answer.of(openai_completion(), X_Energy_Joules="3.6")
    block, _ = await told(gateway, upstream, answer, **FULL)
    assert (block["energy_wh"], block["method"]) == (0.001, "measured")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("name", "said", "is_hit"),
    [
        ("cf_aig_cache_status", "HIT", True),
        ("Helicone_Cache", "hit", True),
        ("x_portkey_cache_status", "SEMANTIC HIT", True),
        ("cf_aig_cache_status", "MISS", False),
        ("x_portkey_cache_status", "DISABLED", False),
    ],
)
async def test_an_answer_from_a_cache(serve, upstream, streamed, name, said, is_hit):
    """No model ran; what the replayed answer says of its energy was told before."""
    gateway = await serve(upstream)
    fields = {name: said}
    whole = Answer.of(openai_completion(energy=NEURALWATT), **fields)
    sent = Answer.stream(TEXT, FINISH, ENERGY, USAGE, DONE)
    sent = attrs.evolve(sent, headers=(*sent.headers, (name.replace("_", "-"), said)))
    answer = sent if streamed else whole
    block, record = await told(gateway, upstream, answer, stream=streamed, **FULL)
    assert ("upstream-cache" in block.get("notes", ())) is is_hit
    assert (block["energy_wh"] == block["carbon_g"] == 0) is is_hit
    assert (block["method"] == "estimated") is is_hit
    assert (record.impact.energy_wh == 0) is is_hit


@pytest.mark.parametrize("streamed", [False, True])
async def test_another_gateway_of_our_kind(serve, upstream, streamed):
    """The outer one tells what the inner one found, and its own id."""
    inner = await serve(Place(upstream, zone="PL"))
    outer_place = Place(
        f"http://127.0.0.1:{inner.port}/api/v1", provider="inner", zone="FR"
    )
    # The inner one knows the model under its own name.
    extra = f'[[models]]\nid = "x"\nprovider = "inner"\nupstream_model = "{MODEL}"'
    outer = await serve(outer_place, extra=extra, environ={"INNER_KEY": KEY})
    reply = await outer.chat(ask("x", stream=streamed, **FULL))
    assert reply.status == 200
    block = eco_of(reply.body) if streamed else whole_eco_of(reply.body)
    impact = (await inner.books.record()).impact
    assert block["energy_wh"] == pytest.approx(impact.energy_wh, rel=1e-4)
    assert block["carbon_g"] == pytest.approx(impact.carbon_g, rel=1e-4)
    assert block["method"] == "estimated"
    assert block["measured"]["source"] == "lowrouter"


LIES = {"none": 0, "less": -3.6, "much": 3.6e9, "little": 1e-9, "huge": 10**400}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_lie_is_not_told_on(serve, upstream, lie):
    """The estimate stands with a note, unary and streamed, and in the record."""
    gateway = await serve(Place(upstream, options=LATE))
    honest, _ = await told(gateway, upstream, Answer.of(openai_completion()), **FULL)
    energy = {"energy_joules": lie}
    whole = Answer.of(openai_completion(energy=energy))
    comment = b': energy {"energy_joules": %d}\n\n' % lie if lie >= 1 else None
    answers = [(whole, False)]
    answers.append(
        (Answer.stream(TEXT, FINISH, sse({**usage_chunk(), "energy": energy})), True)
    )
    if comment:
        answers.append((Answer.stream(TEXT, FINISH, USAGE, comment, DONE), True))
    for answer, streamed in answers:
        block, record = await told(gateway, upstream, answer, stream=streamed, **FULL)
        assert block == {**honest, "notes": ["measured-rejected"]}
        assert record.impact.method == "estimated"


@pytest.mark.parametrize("lie", ["NaN", "-1", "Infinity", "1e400"])
async def test_a_lie_that_is_no_json_number(serve, upstream, lie):
    """In a comment and in the head it can be read, and is refused."""
    gateway = await serve(Place(upstream, options=LATE))
    comment = b': energy {"energy_joules": %b}\n\n' % lie.encode()
    stream = Answer.stream(TEXT, FINISH, USAGE, comment, DONE)
    block, _ = await told(gateway, upstream, stream, stream=True, **FULL)
    assert (block["method"], block["notes"]) == ("estimated", ["measured-rejected"])
    whole = Answer.of(openai_completion(), X_Energy_Joules=lie)
    block, _ = await told(gateway, upstream, whole, **FULL)
    assert (block["method"], block["notes"]) == ("estimated", ["measured-rejected"])


async def test_a_model_of_unknown_size_that_is_measured(serve, upstream):
    """It gets a block after all; a lie about it gets none."""
    gateway = await serve(upstream, extra=UNKNOWN)
    fields = {"model": "acme/unheard-of", **FULL}
    answer = Answer.of(openai_completion(energy=NEURALWATT))
    block, record = await told(gateway, upstream, answer, **fields)
    assert block["energy_wh"] == pytest.approx(0.00192)
    assert record.impact.method == "measured_scaled"
    for energy in ({"energy_joules": 1e9}, {}):
        upstream.script.append(Answer.of(openai_completion(energy=energy)))
        reply = await gateway.chat(**fields)
        assert "eco" not in reply.json()["lowrouter"]


# --- how much is told -----------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_whole_block_on_request(serve, upstream, streamed):
    """By the body or by a field; the record has it in any case."""
    gateway = await serve(upstream)
    for fields, header, is_full in (
        ({}, {}, False),
        (FULL, {}, True),
        ({}, {"X-LowRouter-Eco": "full"}, True),
        ({"route": {"eco": "short"}}, {"X-LowRouter-Eco": "full"}, False),
        ({"route": {"eco": None}}, {"X-LowRouter-Eco": "full"}, True),
        ({"route": {"region": "eu-west"}}, {"X-LowRouter-Eco": "full"}, True),
    ):
        number = len(gateway.books.records) + 1
        async with gateway.caller() as caller:
            body = ask(stream=streamed, **fields)
            reply = await caller.post(CHAT, body, headers=header)
            out = await reply.rest()
        block = eco_of(out) if streamed else whole_eco_of(out)
        assert (set(block) == FIVE) is not is_full
        assert set(block) >= FIVE
        if is_full:
            assert {"energy_wh_low", "grid", "tokens", "method"} <= set(block)
        record = await gateway.books.record(number)
        assert record.impact.grid.zone == "FR"
        assert "route" not in upstream.seen[-1].json()
        assert upstream.seen[-1].header("x-lowrouter-eco") is None


async def test_the_configuration_may_say_full(serve, upstream):
    """And a request may still ask for less."""
    gateway = await serve(upstream, extra="[eco]\nfull = true")
    assert "grid" in (await gateway.chat()).json()["lowrouter"]["eco"]
    short = await gateway.chat(route={"eco": "short"})
    assert set(short.json()["lowrouter"]["eco"]) == FIVE


@pytest.mark.parametrize("value", ["all", "", "FULL", 1, True, {}, ["full"]])
async def test_another_word_is_refused(serve, upstream, value):
    """400 that names the member; nobody was asked."""
    gateway = await serve(upstream)
    reply = await gateway.chat(route={"eco": value})
    assert reply.status == 400
    assert reply.error["param"] == "route.eco"
    assert upstream.requests.count == 0


async def test_another_word_in_the_field_is_refused(serve, upstream):
    """As in the body."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, ask(), headers={"X-LowRouter-Eco": "all"})
        assert reply.status == 400
        assert b"full, short" in await reply.rest()


# --- what the figures say of the request ----------------------------------------------


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
async def test_media_cost_a_band(serve, upstream, kind):
    """Nobody has measured what an image takes: the block says that there was one."""
    gateway = await serve(upstream, extra=OPEN)
    plain = await gateway.chat(model="acme/open", **FULL)
    part = {"type": kind, kind: {"url": "data:image/png;base64,AA=="}}
    content = [{"type": "text", "text": "Hi"}, part]
    messages = [{"role": "user", "content": content}]
    reply = await gateway.chat(model="acme/open", messages=messages, **FULL)
    before = plain.json()["lowrouter"]["eco"]
    block = reply.json()["lowrouter"]["eco"]
    assert before["accuracy"] == "accurate"
    assert block["accuracy"] == "medium"
    assert "media-input" in block["notes"]
    assert "media-input" not in before.get("notes", [])


async def test_what_was_cut_is_partial(serve, upstream):
    """A caller that leaves: the tokens seen, marked so in the record."""
    gateway = await serve(upstream)
    never = asyncio.Event()
    upstream.script.append(Answer.stream(TEXT, TEXT, never))
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        await reply.event()
        await reply.event()
    record = await gateway.books.record()
    assert record.status == "partial"
    assert record.impact.tokens.completion == 2
    assert "partial" in record.impact.notes
    assert record.impact.methodology_version == DEFAULT.version


async def test_a_stream_that_broke_is_partial(serve, upstream):
    """The upstream's doing: its tokens count as well."""
    gateway = await serve(upstream)
    upstream.script.append(Answer.stream(TEXT, TEXT, cut=True))
    await gateway.chat(asking())
    record = await gateway.books.record()
    assert record.status == "upstream_error"
    assert "partial" in record.impact.notes


async def test_a_whole_stream_without_usage_is_not_partial(serve, upstream):
    """We counted, which costs a band; nothing was cut."""
    gateway = await serve(upstream, extra=OPEN)
    upstream.script.append(Answer.stream(TEXT, FINISH, DONE))
    await gateway.chat(asking(model="acme/open"))
    record = await gateway.books.record()
    assert "partial" not in record.impact.notes
    assert record.impact.accuracy == "medium"
    assert record.usage.counted


# --- attempts that failed -------------------------------------------------------------


FAILED = {"error": {"message": "overloaded"}, "usage": {"prompt_tokens": 900}}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", [200, 500])
async def test_what_was_wasted_is_written_down(
    serve, upstream, other, log_text, streamed, status
):
    """Apart from the answer, where the upstream that failed told its tokens."""
    gateway = await serve(upstream, other)
    first = Answer.of(FAILED, status)
    if streamed and status == 200:
        first = Answer.stream(sse(FAILED))
    upstream.script = [first]
    assert (await gateway.chat(ask(stream=streamed))).status == 200
    record = await gateway.books.record()
    assert [outcome for _, outcome in record.attempts] == ["upstream_status", "ok"]
    energy_wh, grams = record.wasted
    assert energy_wh > record.impact.energy_wh
    assert grams == pytest.approx(energy_wh * 41.44 / 1000, rel=1e-3)
    assert '"wasted_wh":' in log_text()


async def test_what_nobody_told_is_not_waste(serve, upstream, other, log_text):
    """Unknown, not zero: a failure without tokens, and no failure at all."""
    gateway = await serve(upstream, other)
    upstream.script = [Answer(b"", 500)]
    await gateway.chat()
    assert (await gateway.books.record()).wasted is None
    await gateway.chat()
    assert (await gateway.books.record(2)).wasted is None
    assert "wasted" not in log_text()


async def test_waste_is_counted_where_all_failed(serve, upstream):
    """The caller has an error; the books have the energy."""
    gateway = await serve(upstream)
    upstream.script = [Answer.of(FAILED, 500)]
    assert (await gateway.chat()).status == 502
    record = await gateway.books.record()
    assert record.impact is None
    assert record.wasted[0] > 0
