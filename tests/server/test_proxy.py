"""A chat completion from the caller's bytes to the answer's: what goes up, what comes back."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest

from lowproxy.core.keys import hash_key
from lowproxy.server import proxy
from lowproxy.transport import verdict
from tests.fakes import Answer, openai_completion, sse, usage_chunk
from tests.gateway import CHAT, Place, ask, asking, provider_key

# --- what goes up ---------------------------------------------------------------------


async def test_the_body_goes_up_as_it_came(serve, upstream):
    """But for the model's name and our own members: order, escapes, big numbers stay."""
    gateway = await serve(upstream)
    body = (
        b'{ "seed": 9007199254740993, "model" : "acme/small","x":1e400,'
        b'"messages":[{"role":"user","content":"\\u00e9\\ud800 \xe2\x82\xac"}],'
        b'"route": {"region":"eu-west"}, "models":["acme/small"],'
        b' "provider":{"order":["p1"]},"unknown":{"b":1,"a":[2]} }'
    )
    told = await gateway.chat(body)
    assert told.status == 200
    assert upstream.seen[0].body == (
        b'{ "seed": 9007199254740993, "model" : "upstream-small","x":1e400,'
        b'"messages":[{"role":"user","content":"\\u00e9\\ud800 \xe2\x82\xac"}],'
        b'"unknown":{"b":1,"a":[2]} }'
    )


async def test_usage_is_asked_for_on_a_stream(serve, upstream):
    """Whether or not the caller did; other stream options stay."""
    gateway = await serve(upstream)
    await gateway.chat(asking())
    await gateway.chat(asking(stream_options={"include_obfuscation": False}))
    await gateway.chat(asking(usage=True))
    await gateway.chat()
    assert [seen.json().get("stream_options") for seen in upstream.seen] == [
        {"include_usage": True},
        {"include_obfuscation": False, "include_usage": True},
        {"include_usage": True},
        None,
    ]


async def test_an_upstream_that_knows_no_stream_options(serve, upstream, tmp_path):
    """`stream_options = false`: it is not asked, and our own count is told."""
    upstream.script = [Answer.stream(sse({**usage_chunk(), "choices": []}, done=True))]
    extra = "\n".join(
        (
            '[[providers]]\nid = "plain"\napi_key_env = ""\nstream_options = false',
            '[[providers.endpoints]]\nregion = "eu-north"',
            f'base_url = "{upstream.base_url}"',
            '[[models]]\nid = "plain/m"\nprovider = "plain"',
        )
    )
    gateway = await serve(Place("http://127.0.0.1:9", provider="p9"), extra=extra)
    await gateway.chat(asking(model="plain/m"))
    assert "stream_options" not in upstream.seen[0].json()
    assert upstream.seen[0].header("authorization") is None


async def test_only_named_fields_go_up(serve, upstream):
    """No credential of the caller, no hop-by-hop field, no cookie, none of ours."""
    gateway = await serve(upstream)
    canaries = {
        "Cookie": "canary=1",
        "X-Api-Key": "canary-2",
        "Proxy-Authorization": "Basic canary-3",
        "X-Goog-Api-Key": "canary-4",
        "Api-Key": "canary-5",
        "OpenAI-Organization": "canary-6",
        "X-Forwarded-For": "203.0.113.9",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "canary-7",
        "TE": "trailers",
        "Upgrade-Insecure-Requests": "1",
        "X-LowRouter-Region": "eu-west",
        "Accept-Encoding": "gzip, br",
        "Accept": "*/*; canary-8",
        "User-Agent": "canary-9",
        "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "Idempotency-Key": "idem-1",
    }
    async with gateway.caller() as caller:
        assert (await caller.post(CHAT, asking(), headers=canaries)).status == 200
        assert (await caller.ended()) is False
    (seen,) = upstream.seen
    sent = {name.lower(): value for name, value in seen.headers}
    assert len(sent) == len(seen.headers)
    sent.pop("connection", None)
    assert sent.pop("user-agent").startswith("lowproxy/")
    assert sent == {
        "host": f"127.0.0.1:{upstream.port}",
        "content-type": "application/json",
        "content-length": str(len(seen.body)),
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "authorization": f"Bearer {provider_key('p1')}",
        "traceparent": canaries["Traceparent"],
        "idempotency-key": "idem-1",
    }
    assert seen.path == "/v1/chat/completions"


async def test_a_field_cannot_break_out_of_its_line(serve, upstream):
    """What a caller's field holds stays one field upstream, or the request is refused."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        await caller.ask(CHAT, ask(), headers={"Idempotency-Key": "a\rX-Evil: 1"})
        reply = await caller.reply()
    assert reply.status == 400
    assert upstream.requests.count == 0


# --- what comes back ------------------------------------------------------------------


async def test_a_unary_answer(serve, upstream):
    """The upstream's bytes, but for the model's name and `lowrouter` at the end."""
    body = (
        b'{"id":"x", "model":"upstream-small-2026","choices":[{"message":{"content":'
        b'"\\u00e9\xe2\x82\xac"}}],"usage":{"prompt_tokens":9,"completion_tokens":3},'
        b'"big":123456789012345678901234567890,"a":1,"a":2 }'
    )
    upstream.script = [
        Answer(
            body,
            headers=[
                ("Content-Type", "application/json"),
                ("X-Request-Id", "req_9"),
                ("Set-Cookie", "canary"),
                ("openai-organization", "canary"),
                ("Strict-Transport-Security", "max-age=1"),
            ],
        )
    ]
    gateway = await serve(upstream)
    told = await gateway.chat()
    record = await gateway.books.record()
    before, _, after = told.body.partition(b',"lowrouter":')
    assert before + b"}" == body.replace(b"upstream-small-2026", b"acme/small")
    block = json.loads(b'{"lowrouter":' + after)["lowrouter"]
    assert block["generation_id"] == record.generation_id
    assert (block["provider"], block["region"]) == ("p1", "eu-west")
    assert (block["cost"], block["currency"]) == (0.000012, "USD")
    assert told.headers["x-lowrouter-cost"] == "0.000012"
    assert b'"cost":0.000012,' in told.body
    assert set(block["eco"]) == {
        "energy_wh",
        "carbon_g",
        "carbon_per_1k_tokens_g",
        "accuracy",
        "methodology_version",
    }
    assert told.headers["x-request-id"] == "req_9"
    assert told.headers["x-lowrouter-generation-id"] == record.generation_id
    assert set(told.headers) - {"server"} == {  # aiohttp names itself
        "date",
        "connection",
        "content-type",
        "content-length",
        "x-lowrouter-generation-id",
        "x-lowrouter-provider",
        "x-lowrouter-region",
        "x-lowrouter-cost",
        "x-request-id",
    }
    assert (record.usage.prompt, record.usage.completion) == (9, 3)
    assert record.latency_ms <= record.duration_ms


async def test_an_upstreams_own_lowrouter_field_is_replaced(serve, upstream):
    """One gateway behind another: the caller sees one field, the nearer one's."""
    upstream.script = [Answer.of({"lowrouter": {"x": 1}, **openai_completion()})]
    told = await (await serve(upstream)).chat()
    assert told.body.count(b'"lowrouter"') == 1
    assert told.json()["lowrouter"]["provider"] == "p1"


async def test_a_unary_answer_without_usage_is_counted(serve, upstream):
    """Tokens from bytes, as of a stream, marked as counted; the shape of the answer does not matter."""
    call = {"name": "f", "arguments": "x" * 39}
    calls = [{"id": "call_1", "type": "function", "function": call}]
    answers = [
        {"choices": [{"message": {"role": "assistant", "content": "é" * 20}}]},
        {"choices": [{"message": {"content": None, "tool_calls": calls}}]},
        {"choices": [{"message": {"reasoning_content": "x" * 36, "content": "x" * 4}}]},
        {"choices": [{"message": {"content": "x" * 400}}]},
        {"choices": [{"message": None}, 3]},
        {"choices": None, "model": 7},
    ]
    upstream.script = [Answer.of(answer) for answer in answers]
    gateway = await serve(upstream)
    for number, completion in enumerate((10, 10, 10, 100, 0, 0), 1):
        assert (await gateway.chat()).status == 200
        record = await gateway.books.record(number)
        assert record.usage.counted
        assert record.usage.completion == completion


async def test_eco_is_absent_where_the_size_is_unknown(serve, upstream):
    """Never invented."""
    extra = '[[models]]\nid = "p1/unheard-of-x"\nprovider = "p1"'
    gateway = await serve(upstream, extra=extra)
    told = await gateway.chat(model="p1/unheard-of-x")
    assert upstream.seen[0].json()["model"] == "unheard-of-x"
    assert "eco" not in told.json()["lowrouter"]
    assert (await gateway.books.record()).impact is None


async def test_a_stream_that_is_answered_with_json(serve, upstream):
    """Some upstreams ignore `stream`: the caller gets what they sent, annotated."""
    upstream.script = [Answer.of(openai_completion())]
    told = await (await serve(upstream)).chat(asking())
    assert told.headers["content-type"] == "application/json"
    assert told.json()["lowrouter"]["provider"] == "p1"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_an_upstream_that_compresses_unasked(serve, upstream, coding):
    """The caller gets plain JSON and no word of the coding."""
    pack = gzip.compress if coding == "gzip" else zlib.compress
    upstream.script = [
        Answer(
            pack(json.dumps(openai_completion()).encode()),
            headers=[
                ("Content-Type", "application/json"),
                ("Content-Encoding", coding),
            ],
        )
    ]
    told = await (await serve(upstream)).chat()
    assert told.json()["choices"][0]["message"]["content"] == "Hello there friend"
    assert "content-encoding" not in told.headers


async def test_a_stream_that_is_compressed_unasked(serve, upstream):
    """It is read as it comes, each event as soon as it can be."""
    packer = zlib.compressobj(wbits=31)
    word = sse(*[{"choices": [{"delta": {"content": "a"}}]}], done=False)
    gate = asyncio.Event()
    upstream.script = [
        Answer(
            headers=[
                ("Content-Type", "text/event-stream"),
                ("Content-Encoding", "gzip"),
            ],
            pieces=[
                packer.compress(word) + packer.flush(zlib.Z_SYNC_FLUSH),
                gate,
                packer.compress(word + b"data: [DONE]\n\n") + packer.flush(),
            ],
        )
    ]
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, asking())
        assert await reply.event() == word
        gate.set()
        assert await reply.event() == word
        assert (await reply.rest()).endswith(b"data: [DONE]\n\n")
        assert "content-encoding" not in reply.headers


async def test_a_bomb_from_an_upstream(serve, upstream, other):
    """64 MB out of 64 KB are not unpacked: the next candidate answers."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(80))
    upstream.script = [
        Answer(
            bomb + packer.flush(),
            headers=[
                ("Content-Type", "application/json"),
                ("Content-Encoding", "gzip"),
            ],
        )
    ]
    gateway = await serve(upstream, other)
    told = await gateway.chat()
    assert told.json()["lowrouter"]["provider"] == "p2"
    await upstream.all_closed()


async def test_an_endless_answer(serve, upstream, other, monkeypatch):
    """A body without an end is given up at the limit, and its connection is closed."""
    monkeypatch.setattr(verdict, "MAX_ANSWER_BYTES", 1 << 20)
    written = []

    async def endless(seen, wire):
        await wire.head(200, [("Content-Type", "application/json")], chunked=True)
        while True:
            await wire.chunk(b" " * 65536)
            written.append(65536)
            await asyncio.sleep(0)

    upstream.on_request = endless
    gateway = await serve(upstream, other)
    told = await gateway.chat()
    assert told.json()["lowrouter"]["provider"] == "p2"
    await upstream.all_closed()
    assert sum(written) < 16 << 20


# --- another candidate ----------------------------------------------------------------


async def _cut(seen, wire):
    await wire.cut()


async def _hang_up(seen, wire):
    await wire.hang_up()


async def _half_a_head(seen, wire):
    await wire.raw(b"HTTP/1.1 200 OK\r\nContent-")
    await wire.hang_up()


async def _not_http(seen, wire):
    await wire.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await wire.hang_up()


async def _silent(seen, wire):
    await wire.peer_left()


async def _error_first(seen, wire):
    await wire.head(chunked=True)
    await wire.chunk(b": hi\n\n")
    await wire.chunk(b'data: {"error":{"message":"overloaded","code":503}}\n\n')
    await wire.end()


async def _empty(seen, wire):
    await wire.head(chunked=True)
    await wire.end()


async def _cut_in_first_event(seen, wire):
    await wire.head(chunked=True)
    await wire.chunk(b'data: {"choices":[{')
    await wire.cut()


async def _html(seen, wire):
    await wire.head(200, [("Content-Type", "application/json")], length=6)
    await wire.raw(b"<html>", last=True)


async def _error_within_json(seen, wire):
    body = b'{"error":{"message":"quota","code":429}}'
    await wire.head(200, [("Content-Type", "application/json")], length=len(body))
    await wire.raw(body, last=True)


def _status(status):
    async def answer(seen, wire):
        await wire.head(status, [("Content-Type", "text/html")], length=2)
        await wire.raw(b"no", last=True)

    answer.__name__ = f"status_{status}"
    return answer


async def _redirect(seen, wire):
    host = seen.header("host")
    await wire.head(307, [("Location", f"http://{host}/elsewhere")], length=0)
    await wire.end()


FAILURES = [
    (_cut, True),
    (_hang_up, True),
    (_half_a_head, True),
    (_not_http, True),
    (_silent, True),
    (_error_first, True),
    (_empty, True),
    (_cut_in_first_event, True),
    (_redirect, True),
    *((_status(status), True) for status in (401, 402, 403, 404, 407, 429, 500, 503)),
    (_html, False),
    (_error_within_json, False),
    (_cut, False),
    (_silent, False),
    (_redirect, False),
    (_status(529), False),
]


@pytest.mark.parametrize(
    ("fail", "stream"),
    FAILURES,
    ids=[f"{fail.__name__.strip('_')}-{stream}" for fail, stream in FAILURES],
)
async def test_the_next_candidate_answers(serve, upstream, other, fail, stream):
    """A failure before the first event is not the caller's."""
    upstream.on_request = fail
    extra = "[timeouts]\nfirst_byte_s = 0.1\nunary_s = 0.1"
    gateway = await serve(upstream, other, extra=extra)
    told = await gateway.chat(stream=stream)
    assert told.status == 200
    assert told.headers["x-lowrouter-provider"] == "p2"
    assert b'"provider":"p2"' in told.body
    assert upstream.requests.count == 1
    assert other.requests.count == 1
    assert other.seen[0].header("authorization") == f"Bearer {provider_key('p2')}"
    record = await gateway.books.record()
    assert record.status == "ok"
    assert record.provider == "p2"
    first, second = record.attempts
    assert first[0] == "p1-eu-west/acme/small"
    assert first[1] != "ok"
    assert second == ("p2-eu-west/acme/small", "ok")


async def test_nobody_listens(serve, upstream):
    """A refused connection is followed by the next candidate."""
    gateway = await serve(Place("http://127.0.0.1:9/v1"), upstream)
    told = await gateway.chat()
    assert told.json()["lowrouter"]["provider"] == "p2"
    assert (await gateway.books.record()).attempts[0][1] == "upstream_unreachable"


async def test_the_same_region_comes_first(serve, upstream, other):
    """A cheaper place abroad is asked after every place at home."""
    upstream.on_request = _status(500)
    order = []

    async def third(seen, wire):
        order.append(seen.header("authorization"))
        await _status(500)(seen, wire)

    other.on_request = third
    gateway = await serve(
        Place(upstream),
        Place(other, region="us-east"),
        Place(other),
        Place("http://127.0.0.1:9/v1", region="us-east"),
    )
    told = await gateway.chat()
    assert told.status == 502
    record = await gateway.books.record()
    assert [candidate for candidate, _ in record.attempts] == [
        "p1-eu-west/acme/small",
        "p3-eu-west/acme/small",
        "p2-us-east/acme/small",
        "p4-us-east/acme/small",
    ]
    assert order == [f"Bearer {provider_key(p)}" for p in ("p3", "p2")]


async def test_a_pinned_region_fails_closed(serve, upstream, other):
    """Nothing is sent elsewhere, whoever pinned it."""
    upstream.on_request = _status(500)
    extra = f'[[keys]]\nname = "eu"\nhash = "{hash_key("k" * 40)}"\nregion = "eu-west"'
    gateway = await serve(Place(upstream), Place(other, region="us-east"), extra=extra)
    pinned: list[dict[str, Any]] = [
        {"body": ask(route={"region": "eu-west"})},
        {"body": ask(), "headers": {"X-LowRouter-Region": "eu-west"}},
        {"body": ask(), "headers": {"X-LowRouter-Region": "eu"}},
        {"body": ask(), "key": "k" * 40},
        {
            "body": ask(route={"region": "eu-west"}),
            "headers": {"X-LowRouter-Region": "us-east"},
        },
    ]
    for number, each in enumerate(pinned, 1):
        async with gateway.caller() as caller:
            reply = await caller.post(
                CHAT,
                each["body"],
                key=each.get("key"),
                headers=each.get("headers"),
            )
            error = (await reply.json())["error"]
        assert (reply.status, error["code"]) == (502, "upstream_status"), each
        assert upstream.requests.count == number
    assert other.requests.count == 0
    # Not pinned: the other region serves.
    assert (await gateway.chat()).headers["x-lowrouter-region"] == "us-east"


@pytest.mark.parametrize(
    "wishes", [{"route": {"fallback": False}}, {"provider": {"allow_fallbacks": False}}]
)
async def test_a_caller_may_refuse_other_places(serve, upstream, other, wishes):
    """`fallback`: no other region; `allow_fallbacks`: no second candidate at all."""
    upstream.on_request = _status(500)
    gateway = await serve(upstream, Place(other, region="us-east"))
    assert (await gateway.chat(**wishes)).status == 502
    assert other.requests.count == 0


async def test_a_slow_upstream_is_no_answer(serve, upstream):
    """504 names the limit that ran out."""
    upstream.on_request = _silent
    gateway = await serve(
        upstream, extra="[timeouts]\nfirst_byte_s = 0.05\nunary_s = 0.07"
    )
    streamed = await gateway.chat(stream=True)
    unary = await gateway.chat()
    assert (streamed.status, unary.status) == (504, 504)
    assert "first_byte_s (0.05 s)" in streamed.error["message"]
    assert "unary_s (0.07 s)" in unary.error["message"]
    await upstream.all_closed()
    assert upstream.aborted.count == 2


async def test_a_body_that_never_ends_is_no_answer(serve, upstream):
    """`unary_s` holds for the whole answer, not only for its head."""

    async def head_only(seen, wire):
        await wire.head(200, [("Content-Type", "application/json")], length=100)
        await wire.raw(b"{")
        await wire.peer_left()

    upstream.on_request = head_only
    gateway = await serve(upstream, extra="[timeouts]\nunary_s = 0.05")
    assert (await gateway.chat()).status == 504
    await upstream.all_closed()


async def test_when_nobody_can_be_reached(serve, upstream):
    """503 where no request was sent, without saying what our network looks like."""
    gateway = await serve(Place("http://127.0.0.1:9/v1"))
    told = await gateway.chat()
    assert told.status == 503
    assert told.error["code"] == "upstream_unreachable"
    assert "127.0.0.1" not in told.error["message"]


async def test_what_the_caller_is_told_when_all_have_failed(serve, upstream, other):
    """429 only where all said so, with the shortest wait; else what says most."""
    gateway = await serve(upstream, other)
    slow = [Answer.of({}, 429, Retry_After=wait) for wait in ("30", "7")]
    upstream.script, other.script = slow[:1], slow[1:]
    told = await gateway.chat()
    assert (told.status, told.headers["retry-after"]) == (429, "7")
    assert told.error["type"] == "rate_limit_error"

    upstream.script = [Answer.of({}, 429)]
    other.script = [Answer.of({}, 500)]
    gateway = await serve(upstream, other)
    told = await gateway.chat()
    assert told.status == 502
    assert told.error["type"] == "upstream_error"
    assert "p2-eu-west answered 500" in told.error["message"]


@pytest.mark.parametrize("value", ["inf", "1e400", "nan", "-5", "soon", "1_0"])
async def test_a_retry_after_that_is_no_time(serve, upstream, value):
    """The caller is told some wait, never ours to fail on."""
    upstream.script = [Answer.of({}, 429, Retry_After=value)]
    gateway = await serve(upstream)
    told = await gateway.chat()
    assert told.status == 429
    assert int(told.headers["retry-after"]) >= 1


@pytest.mark.parametrize("status", [401, 402, 403, 404, 407, 301, 307, 308, 418, 500])
async def test_statuses_that_are_ours_to_fix(serve, upstream, status):
    """They become 502, without the upstream's words, and a redirect is not followed."""
    elsewhere = f"http://127.0.0.1:{upstream.port}/elsewhere"
    upstream.script = [
        Answer.of({"error": {"message": "canary"}}, status, Location=elsewhere)
    ]
    told = await (await serve(upstream)).chat()
    assert told.status == 502
    assert told.error["type"] == "upstream_error"
    assert f"p1-eu-west answered {status}" in told.error["message"]
    assert b"canary" not in told.body
    assert "location" not in told.headers
    assert upstream.requests.count == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_statuses_that_are_the_callers(serve, upstream, other, status, stream):
    """They come through with status and words, at once, and without our credential."""
    key = provider_key("p1")
    error = {
        "message": f"max_tokens is too large ({key})",
        "type": "invalid_request_error",
        "param": "max_tokens",
        "code": "too_large",
        "big": 123456789012345678901234567890,
        "odd": "\ud800",
    }
    upstream.script = [Answer.of({"error": error}, status, X_Request_ID="req_3")]
    gateway = await serve(upstream, other)
    told = await gateway.chat(stream=stream)
    assert told.status == status
    assert json.loads(told.body)["error"] == {
        **error,
        "message": "max_tokens is too large (***)",
    }
    assert key.encode() not in told.body
    assert other.requests.count == 0
    record = await gateway.books.record()
    assert (record.status, record.http_status) == ("client_error", status)


async def test_a_refusal_in_another_shape(serve, upstream):
    """Whatever an upstream says is told in OpenAI's shape."""
    upstream.script = [
        Answer.of({"detail": "context too long"}, 400),
        Answer(b"<html>", 400, [("Content-Type", "text/html")]),
        Answer(b"x" * 200_000, 413),
    ]
    gateway = await serve(upstream)
    told = await gateway.chat()
    assert (told.status, told.error["message"]) == (400, "context too long")
    for status in (400, 413):
        told = await gateway.chat()
        assert told.status == status
        assert told.error["type"] == "invalid_request_error"
        assert b"html" not in told.body


async def test_a_refusal_names_who_refused(serve, upstream, other):
    """Behind a failed candidate, the headers and the books name the one that answered."""
    upstream.on_request = _status(500)
    other.script = [Answer.of({"error": {"message": "no"}}, 400)]
    gateway = await serve(upstream, Place(other, region="eu-north"))
    told = await gateway.chat()
    assert told.status == 400
    assert told.headers["x-lowrouter-provider"] == "p2"
    assert told.headers["x-lowrouter-region"] == "eu-north"
    assert (await gateway.books.record()).provider == "p2"


async def test_a_failing_candidate_is_asked_last(serve, upstream, other):
    """After a few failures in a row the other one is asked first."""
    upstream.on_request = _status(500)
    gateway = await serve(upstream, other, extra="[health]\nfailures = 3")
    for _ in range(3):
        await gateway.chat()
    assert upstream.requests.count == 3
    await gateway.chat()
    assert upstream.requests.count == 3
    assert other.requests.count == 4


# --- the caller's body ----------------------------------------------------------------


def padded(size):
    """A good body of exactly that many bytes."""
    body = json.dumps(ask()).encode()
    return body + b" " * (size - len(body))


LIMIT = 1000


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
async def test_the_limit_of_a_body(serve, upstream, framing, size, status):
    """It is exact, however the body is framed; nothing of a larger one goes up."""
    gateway = await serve(upstream, server=f"max_body_bytes = {LIMIT}")
    body = padded(size)
    async with gateway.caller() as caller:
        if framing == "length":
            reply = await caller.post(CHAT, body)
        else:
            chunks = [body[i : i + 300] for i in range(0, size, 300)]
            raw = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks)
            await caller.ask(
                CHAT,
                raw + b"0\r\n\r\n",
                headers={"Content-Length": None, "Transfer-Encoding": "chunked"},
            )
            reply = await caller.reply()
        told = await reply.json()
    assert reply.status == status
    if status == 413:
        assert str(LIMIT) in told["error"]["message"]
        assert told["error"]["code"] == "request_too_large"
    assert upstream.requests.count == (status == 200)


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
async def test_the_limit_holds_for_what_a_body_unpacks_to(
    serve, upstream, size, status
):
    """A small gzip body may be a large one."""
    gateway = await serve(upstream, server=f"max_body_bytes = {LIMIT}")
    packed = gzip.compress(padded(size))
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, packed, headers={"Content-Encoding": "gzip"})
        assert reply.status == status
    if status == 200:
        assert upstream.seen[0].header("content-encoding") is None
        assert upstream.seen[0].json()["messages"] == ask()["messages"]


async def test_a_bomb_from_a_caller(serve, upstream):
    """A gigabyte out of a megabyte is refused as soon as it passes the limit."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100))
    bomb += packer.flush()
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, bomb, headers={"Content-Encoding": "gzip"})
        assert reply.status == 413
    assert upstream.requests.count == 0


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"not gzip at all"),
        ("gzip", gzip.compress(json.dumps(ask()).encode())[:-12]),
        ("br", b"\x00\x01"),
        ("rot13", b"{}"),
    ],
)
async def test_a_body_that_cannot_be_unpacked(serve, upstream, coding, body):
    """It is the caller's to fix."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, body, headers={"Content-Encoding": coding})
        assert reply.status in (400, 415)
        assert (await reply.json())["error"]["type"] == "invalid_request_error"
    assert upstream.requests.count == 0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/vnd.acme+json", 200),
        (None, 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
    ],
)
async def test_the_content_type(serve, upstream, kind, status):
    """What is not JSON by its own word is not read."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, ask(), headers={"Content-Type": kind})
        assert reply.status == status
        if status == 415:
            error = (await reply.json())["error"]
            assert error["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"x"', None),
        (b"\xff\xfe", None),
        (b'{"model": NaN}', None),
        (json.dumps(ask()).encode("utf-16"), None),
        (b"[" * 100_000, None),
        ({"messages": []}, "model"),
        ({"model": "acme/small"}, "messages"),
        ({"model": 3, "messages": [{}]}, "model"),
        (ask(messages="Hi"), "messages"),
        (ask(messages=[]), "messages"),
        (ask(messages=["canary"]), "messages[0]"),
        (ask(stream="yes"), "stream"),
        (ask(route=[]), "route"),
        (ask(route={"regoin": "eu"}), "route.regoin"),
        (ask(route={"region": 7}), "route.region"),
        (ask(provider={"zdr": True}), "provider.zdr"),
        (ask(route={"provider": "p1"}, provider={"only": ["p2"]}), "route.provider"),
    ],
)
async def test_a_malformed_request(serve, upstream, body, param):
    """400 names the member; nothing goes up and nothing is repeated."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, body)
        error = (await reply.json())["error"]
    assert reply.status == 400
    assert reply.headers["x-lowrouter-generation-id"].startswith("gen_")
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert "canary" not in error["message"]
    assert upstream.requests.count == 0
    assert (await gateway.books.record()).status == "client_error"


async def test_what_routing_refuses(serve, upstream):
    """Unknown model 404; unknown region and provider 503 that lists the known ones."""
    gateway = await serve(upstream)
    told = await gateway.chat(model="acme/unknown")
    assert (told.status, told.error["code"]) == (404, "model_not_found")
    assert "/api/v1/models" in told.error["message"]
    for route in ({"region": "mars-west"}, {"provider": "nobody"}):
        told = await gateway.chat(route=route)
        assert told.status == 503
        assert told.headers["x-should-retry"] == "false"
        assert told.error["code"] == "no_eligible_provider"
    assert "eu-west" in (await gateway.chat(route={"region": "x"})).error["message"]
    assert upstream.requests.count == 0


async def test_what_a_key_may_not_do(serve, upstream):
    """403 for a model, a region, a provider that the key does not allow."""
    keys = {
        "m": 'models = ["other/*"]',
        "r": 'region = "us-east"',
        "p": 'providers = ["p2"]',
    }
    extra = "\n".join(
        f'[[keys]]\nname = "{name}"\nhash = "{hash_key(name * 40)}"\n{policy}'
        for name, policy in keys.items()
    )
    async_upstreams = (Place(upstream), Place(upstream, region="us-east"))
    gateway = await serve(*async_upstreams, extra=extra)
    asked = {
        "m": ask(),
        "r": ask(route={"region": "eu-west"}),
        "p": ask(route={"provider": "p1"}),
    }
    for name, body in asked.items():
        async with gateway.caller(key=name * 40) as caller:
            reply = await caller.post(CHAT, body)
            error = (await reply.json())["error"]
        assert (reply.status, error["code"]) == (403, "permission_denied"), name
        assert repr(name) in error["message"]
    assert upstream.requests.count == 0


async def test_a_body_that_stops_coming(serve, upstream):
    """`body_s` ends the wait, the connection is not used again."""
    gateway = await serve(upstream, extra="[timeouts]\nbody_s = 0.05")
    async with gateway.caller() as caller:
        await caller.ask(CHAT, b"{", headers={"Content-Length": "100"})
        reply = await caller.reply()
        assert reply.status == 408
        assert reply.headers["connection"] == "close"
        assert "body_s (0.05 s)" in (await reply.json())["error"]["message"]


async def test_a_chunked_body_that_is_broken(serve, upstream):
    """Framing that is none is a 400, and the connection ends."""
    gateway = await serve(upstream)
    async with gateway.caller() as caller:
        await caller.ask(
            CHAT,
            b"5\r\n{",
            headers={"Content-Length": None, "Transfer-Encoding": "chunked"},
        )
        await caller.send(b"canary\r\nzz\r\n")
        reply = await caller.reply()
        assert reply.status == 400
        assert reply.headers["connection"] == "close"
        assert "canary" not in str(await reply.json())


async def test_a_body_in_single_bytes(serve, upstream):
    """However slowly a body comes, it is the same body."""
    gateway = await serve(upstream)
    body = json.dumps(ask()).encode()
    async with gateway.caller() as caller:
        await caller.ask(CHAT, b"", headers={"Content-Length": str(len(body))})
        for i in range(len(body)):
            await caller.send(body[i : i + 1])
            await asyncio.sleep(0)
        assert (await caller.reply()).status == 200


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_something_is_never_counted_as_nothing(size, tokens):
    """A prompt of two letters is a token, not none."""
    assert proxy._tokens(size) == tokens
