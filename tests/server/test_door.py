"""Who comes in, what a refusal looks like, and that every request is written down."""

import asyncio
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from lowproxy.core.keys import hash_key
from lowproxy.server import books, door
from tests.fakes import Answer, RawCaller, openai_chunk, openai_completion, sse
from tests.gateway import CHAT, KEY, ask, asking, provider_key, settled


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong-canary",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY}x",
        f"bearer{KEY}",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY.upper()}",
        f"Bearer {hash_key(KEY)}",
        "Bearer " + "x" * 8000,
    ],
)
async def test_who_is_not_known(serve, upstream, authorization):
    """401 says how to do it and repeats nothing; nothing goes up."""
    gateway = await serve(upstream)
    async with gateway.caller(key=None) as caller:
        fields = {"Authorization": authorization}
        reply = await caller.post(CHAT, ask(), headers=fields)
        error = (await reply.json())["error"]
    assert reply.status == 401
    assert error["type"] == "authentication_error"
    assert error["code"] == "invalid_api_key"
    assert "Authorization: Bearer" in error["message"]
    assert "canary" not in error["message"]
    assert KEY[6:] not in error["message"]
    assert reply.headers["x-lowrouter-generation-id"].startswith("gen_")
    assert upstream.connections.count == 0
    record = await gateway.books.record()
    assert (record.status, record.http_status) == ("client_error", 401)
    assert record.key_id is None


async def test_a_key_that_is_no_text(serve, upstream):
    """Bytes that are not UTF-8 are an unknown key like any other."""
    gateway = await serve(upstream)
    async with RawCaller(gateway.port) as caller:
        await caller.send(
            b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
        )
        assert (await caller.reply()).status == 401


async def test_two_authorizations(serve, upstream):
    """The first one counts; a second does not slip in."""
    gateway = await serve(upstream)
    raw = "GET /v1/models HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n"
    good, bad = f"Authorization: Bearer {KEY}", "Authorization: Bearer wrong"
    async with RawCaller(gateway.port) as caller:
        await caller.send(raw.format(f"{bad}\r\n{good}").encode())
        reply = await caller.reply()
        assert reply.status == 401
        await reply.rest()


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("enabled = false", "is disabled"),
        ("expires_at = 2020-01-01T00:00:00Z", "has expired"),
    ],
)
async def test_a_key_that_is_no_longer_good(serve, upstream, policy, words):
    """401, on every path."""
    extra = f'[[keys]]\nname = "old"\nhash = "{hash_key("k" * 40)}"\n{policy}'
    gateway = await serve(upstream, extra=extra)
    async with gateway.caller(key="k" * 40) as caller:
        reply = await caller.post(CHAT, ask())
        assert reply.status == 401
        assert words in (await reply.json())["error"]["message"]
        reply = await caller.get("/v1/models")
        assert reply.status == 401


async def test_the_host_decides_nothing(serve, upstream):
    """A crafted Host neither fails nor opens anything."""
    gateway = await serve(upstream)
    for host in ("evil/..;/ x", "127.0.0.1:8081", "", "a@b", None):
        async with gateway.caller(key="wrong") as caller:
            reply = await caller.get("/v1/models", headers={"Host": host})
            assert reply.status in (400, 401)
        async with gateway.caller() as caller:
            reply = await caller.get("/metrics", headers={"Host": host})
            assert reply.status in (400, 404)


async def test_unknown_paths_and_methods(serve, upstream):
    """404 and 405 in our shape, with Allow; the door needs no key for that."""
    gateway = await serve(upstream)
    async with gateway.caller(key=None) as caller:
        reply = await caller.get("/canary")
        assert reply.status == 404
        assert "canary" not in (await reply.rest()).decode()
        reply = await caller.post("/api/v1/embeddings", {})
        assert reply.status == 404
        assert "not served by this version" in (await reply.rest()).decode()
        reply = await caller.get(CHAT)
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
        assert (await reply.json())["error"]["code"] == "method_not_allowed"
        await caller.ask(CHAT, method="OPTIONS")
        reply = await caller.reply()
        assert reply.status == 405
        assert not [name for name in reply.headers if name.startswith("access-")]
        await reply.rest()
    names = {record.endpoint for record in gateway.books.records}
    assert names == {"unknown", "chat"}


async def test_head(serve, upstream):
    """As GET, without the body: the length is the same."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        lengths = []
        for method in ("GET", "HEAD"):
            await caller.ask("/v1/models", method=method)
            reply = await caller.reply()
            lengths.append(reply.headers["content-length"])
            await reply.rest()
            assert reply.status == 200
        assert lengths[0] == lengths[1]
        await caller.ask("/nowhere", method="HEAD")
        assert (await caller.reply()).status == 404
        assert (await caller.get("/v1/models")).status == 200


async def test_the_generation_id_is_on_every_post(serve, upstream):
    """401, 404, 400, 200 alike, and it is the one in the books."""
    gateway = await serve(upstream)
    told = []
    async with gateway.caller() as caller:
        for path, body in [(CHAT, ask()), (CHAT, {}), ("/x", {}), (CHAT, asking())]:
            reply = await caller.post(path, body)
            await reply.rest()
            told.append(reply.headers["x-lowrouter-generation-id"])
        reply = await caller.get("/v1/models")
        assert "x-lowrouter-generation-id" not in reply.headers
    assert len(set(told)) == 4
    assert all(re.fullmatch(r"gen_[A-Za-z0-9_-]{24}", each) for each in told)
    await gateway.books.record(5)
    assert [r.generation_id for r in gateway.books.records[:4]] == told


async def test_more_than_can_be_served(serve, upstream):
    """`max_requests` at a time: one more is told to come back, those under way go on."""
    gate = asyncio.Event()

    async def think(seen, wire):
        await wire.hold(gate)
        await Answer.of(openai_completion()).play(wire)

    upstream.on_request = think
    gateway = await serve(upstream, server="max_requests = 2")
    asked = [asyncio.create_task(gateway.chat()) for _ in range(2)]
    await upstream.requests.wait(2)
    told = await gateway.chat()
    assert (told.status, told.headers["retry-after"]) == (503, "1")
    assert told.error["code"] == "overloaded"
    assert "max_requests" in told.error["message"]
    gate.set()
    assert [(await each).status for each in asked] == [200, 200]
    assert (await gateway.chat()).status == 200


async def test_a_bug_is_told_without_its_text(serve, upstream, monkeypatch, log_text):
    """500 with the id to quote; the log has the type and the place."""
    gateway = await serve(upstream)

    def broken(*_, **__):
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(gateway.parts, "pick", broken)
    monkeypatch.setattr("lowproxy.server.choosing.decide", broken)
    told = await gateway.chat()
    assert told.status == 500
    assert told.error["code"] == "internal_error"
    record = await gateway.books.record()
    assert record.generation_id in told.error["message"]
    assert (record.status, record.error) == ("gateway_error", "internal_error")
    line = json.loads(log_text().splitlines()[0])
    assert line["event"] == "bug"
    assert line["kind"] == "ZeroDivisionError"
    assert line["at"].startswith("tests.server.test_door:")
    assert "canary" not in log_text() + told.body.decode()


async def test_books_that_cannot_be_kept(serve, upstream, monkeypatch, log_text):
    """A full disk, a broken counter: the answer stands, and so does the connection."""
    gateway = await serve(upstream)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(books, "access_texts", full)
    monkeypatch.setattr(gateway.parts.metrics, "count", full)
    async with gateway.caller() as caller:
        for body in (ask(), asking(), {}):
            reply = await caller.post(CHAT, body)
            assert reply.status == (200 if body else 400)
            assert "HTTP/1.1" not in (await reply.rest()).decode()
    assert gateway.parts.metrics.open_requests == 0
    await settled(log_text)
    assert log_text().count('"kind":"OSError"') == 6
    assert not gateway.parts.unwritten


async def test_a_log_that_cannot_be_written(serve, upstream, monkeypatch):
    """Not even the complaint about it: requests are served all the same."""
    gateway = await serve(upstream)

    def broken(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(books, "access_texts", broken)
    monkeypatch.setattr(door, "log", SimpleNamespace(error=broken))
    for _ in range(2):
        assert (await gateway.chat()).status == 200


async def test_open_requests_are_counted(serve, upstream):
    """Up while a request is served, down whatever its end."""
    gateway = await serve(upstream)
    for body in (ask(), asking(), {}, b"{"):
        await gateway.chat(body)
    await gateway.books.record(4)
    assert gateway.parts.metrics.open_requests == 0


CANARIES = {
    "prompt": "canary-prompt-51f0",
    "answer": "canary-answer-77aa",
    "user": "canary-user-90bc",
    "caller": KEY,
    "provider": provider_key("p1"),
}


async def test_no_canary_ever_shows(serve, upstream, other, log_text, caplog, capfd):
    """Not in a log line, a metric, an error, or the repr of anything in the exchange."""
    gateway = await serve(upstream, other)
    prompt = [{"role": "user", "content": CANARIES["prompt"]}]
    body: dict[str, Any] = {"messages": prompt, "user": CANARIES["user"], "tools": None}
    answer = CANARIES["answer"]
    echo = {"error": {"message": f"Incorrect API key provided: {CANARIES['provider']}"}}
    word = sse(openai_chunk(answer), done=False)
    scripts = [
        Answer.of(openai_completion(answer)),
        Answer.stream(word, b"data: [DONE]\n\n"),
        Answer.stream(word, cut=True),
        Answer.of(echo, 400),
        Answer.of(echo, 401),
        Answer.of(echo, 500),
        Answer.of(echo),
        Answer(answer.encode(), headers=[("Content-Type", "application/json")]),
        Answer(cut=True, body=answer.encode()),
        Answer(b"x", headers=[(answer, answer), ("X", "\x01" + answer)]),
    ]
    seen: list[str] = []
    inner = books.write_down

    def keep(parts, exchange):
        inner(parts, exchange)
        seen.extend((repr(exchange), repr(parts), repr(exchange.record())))
        seen.extend(repr(attempt) for attempt in exchange.attempts)

    errors = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "write_down", keep)
        for number, script in enumerate(scripts):
            upstream.script = [script]
            told = await gateway.chat(ask(**body, stream=number in (1, 2)))
            if told.status != 200:
                errors.append(told.body.decode())
        for refused in (
            ask(**body, route={"region": "x"}),
            ask(**{**body, "messages": [CANARIES["prompt"]]}),
            ask(**body, provider={CANARIES["prompt"]: 1}) | {"stream": 3},
            json.dumps(ask(**body)).encode()[:-1],
        ):
            told = await gateway.chat(refused)
            assert told.status >= 400
            errors.append(told.body.decode())
        async with gateway.caller(key=CANARIES["caller"] + "x") as caller:
            errors.append(
                (await (await caller.post(CHAT, ask(**body))).rest()).decode()
            )
    metrics = (await gateway.admin("/metrics")).body.decode()
    printed = capfd.readouterr()
    haystack = [log_text(), caplog.text, printed.out, printed.err, metrics, *errors]
    for name, canary in CANARIES.items():
        for text in [*haystack, *seen]:
            assert canary not in text, (name, text[:300])
    assert len(seen) > 40
    assert log_text().count("request.done") == 15


def test_the_place_of_a_bug_without_a_trace():
    """An exception that was never raised has none."""
    assert door._place(ValueError()) == "unknown"
