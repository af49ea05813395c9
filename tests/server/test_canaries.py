"""Nothing that a request says or that anybody authenticates with is kept, logged or shown.

Canaries are planted everywhere a caller, a provider or an operator can put text; then every outcome is
had, and everything that outlives a request is searched.
"""

import asyncio
import sqlite3

import pytest

from lowproxy.core.keys import hash_key
from tests.fakes import Answer, RawCaller, openai_chunk, openai_completion, sse
from tests.gateway import CHAT, KEY, ask, asking, gateway_over, provider_key, settled

PROMPT = "canary-prompt-7d1e"
ANSWER = "canary-answer-93ab"
FIELD = "canary-field-55c0"
FAULT = "canary-fault-2f4d"
PASSED = "canary-passed-8e77"  # in a member and a header that nobody here knows
LIMITED = "lr-sk-canary-limited-5f1f0c5e7b3a49261122334466"
STRANGER = "lr-sk-canary-stranger-5f1f0c5e7b3a49261122334466"
ADMIN = "canary-admin-credential-0123456789abcdef-0123456789"
SECRETS = (
    PROMPT,
    ANSWER,
    FIELD,
    FAULT,
    PASSED,
    KEY,
    LIMITED,
    STRANGER,
    ADMIN,
    provider_key("p1"),
)
FIELDS = {"X-Canary": PASSED, "Cookie": FIELD, "User-Agent": FIELD, "X-Api-Key": FIELD}


def rows(tmp_path) -> str:
    """The key, and the store."""
    return (
        f'[[keys]]\nname = "limited"\nhash = "{hash_key(LIMITED)}"\nrequests_per_minute = 1\n'
        f'[store]\nurl = "sqlite://{tmp_path}/books.db"\nspill_dir = "{tmp_path}/spill"'
    )


async def say(gateway, body, key=KEY):
    async with gateway.caller(key=key) as caller:
        reply = await caller.post(CHAT, body, headers=FIELDS)
        await reply.rest()
        return reply.status


def said(make=ask, **fields):
    messages = [{"role": "user", "content": PROMPT}]
    return make(messages=messages, user=FIELD, metadata={"x": PASSED}, **fields)


async def every_outcome(gateway, upstream):
    """Good, streamed, failed, refused, cut, left, malformed, unknown, limited."""
    good = Answer.of(openai_completion(ANSWER))
    fault = {"error": {"message": f"{FAULT} {PROMPT}", "code": FAULT}}
    chunk = sse(openai_chunk(ANSWER), done=False)
    upstream.script = [
        good,
        Answer.stream(chunk, sse(openai_chunk(finish_reason="stop"))),
        Answer.of(fault, 500),
        Answer.of(fault, 400),
        Answer.stream(chunk, cut=True),
        Answer.stream(chunk, sse(fault)),
        Answer(ANSWER.encode()),
        good,
    ]
    statuses = [
        await say(gateway, said()),
        await say(gateway, said(asking)),
        await say(gateway, said()),
        await say(gateway, said()),
        await say(gateway, said(asking)),
        await say(gateway, said(asking)),
        await say(gateway, said()),
        await say(gateway, said(), LIMITED),
        await say(gateway, said(), LIMITED),
        await say(gateway, said(model=f"acme/{PASSED}")),
        await say(gateway, said(route={PASSED: 1})),
        await say(gateway, f'{{"model": "{PROMPT}'.encode()),
        await say(gateway, said(), STRANGER),
    ]
    held = asyncio.Event()
    upstream.script = [Answer.stream(chunk, held)]
    async with gateway.caller() as caller:
        reply = await caller.post(CHAT, said(asking), headers=FIELDS)
        await reply.piece()
    await settled(lambda: len(gateway.books.records))
    held.set()
    return statuses


async def shown(gateway) -> str:
    """Every page of the admin port, and what its key API tells who may ask."""
    pages = []
    for path in ("/", "/livez", "/readyz", "/metrics", "/keys", "/keys/made"):
        for token in (None, ADMIN):
            async with RawCaller(gateway.admin_port, key=token) as caller:
                reply = await caller.get(path)
                pages.append((await reply.rest()).decode())
    async with RawCaller(gateway.admin_port) as caller:
        reply = await caller.get("/events")
        pages.append((await reply.piece() or b"").decode())
    return "\n".join(pages)


def tables(path) -> str:
    """Every row of every table."""
    database = sqlite3.connect(path)
    names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    text = [
        repr(database.execute(f"SELECT * FROM {name}").fetchall()) for (name,) in names
    ]
    database.close()
    return "\n".join(text)


@pytest.fixture
async def gateway(serve, upstream, tmp_path):
    return await serve(
        upstream,
        server='admin_key_env = "ADMIN_KEY"\n',
        extra=rows(tmp_path),
        environ={"ADMIN_KEY": ADMIN},
    )


async def test_no_canary_is_kept_logged_or_shown(gateway, upstream, tmp_path, log_text):
    """Tables, files, log lines, metrics, admin pages: none of them."""
    async with RawCaller(gateway.admin_port, key=ADMIN) as caller:
        await caller.ask("/keys", {"name": "made"}, method="POST")
        made = (await (await caller.reply()).json())["key"]
    upstream.script = [Answer.of(openai_completion(ANSWER))]
    assert await say(gateway, said(), made) == 200

    statuses = await every_outcome(gateway, upstream)

    assert {200, 400, 401, 404, 429, 502} <= set(statuses)
    pages = await shown(gateway)
    gateway.parts.ledger.flush()
    places = {
        "tables": tables(tmp_path / "books.db"),
        "log": log_text(),
        "pages": pages,
    }
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.suffix != ".toml":
            places[file.name] = file.read_bytes().decode("latin-1")
    assert "lowproxy_requests_total" in places["pages"]
    assert "\ndata: {" in "\n" + places["pages"], "the owner's page was shown"
    assert '"status":"partial"' in places["log"]
    assert "upstream_error" in places["tables"]
    for name, text in places.items():
        for canary in (*SECRETS, made):
            # The model that was asked for is a fact of the record, as the caller wrote it.
            found = text.replace(f"acme/{PASSED}", "")
            assert canary not in found, f"{canary} in {name}"


async def test_a_record_holds_no_text_of_the_request(gateway, upstream):
    """Not even in memory, beyond the names it has fields for."""
    await every_outcome(gateway, upstream)
    text = repr(gateway.books.records).replace(f"acme/{PASSED}", "")
    for canary in SECRETS:
        assert canary not in text


async def test_no_canary_is_in_a_trace(upstream, tmp_path, monkeypatch, log_text):
    """Neither in a span nor in a metric that goes to a collector, of whatever outcome."""
    pytest.importorskip("opentelemetry.proto", reason="the extra otel is not installed")
    from tests.otlp import Receiver

    async with Receiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
        async with gateway_over(tmp_path, upstream, extra=rows(tmp_path)) as gateway:
            statuses = await every_outcome(gateway, upstream)
    assert {200, 400, 401, 404, 429, 502} <= set(statuses)
    assert len(otlp.spans) > len(statuses), "each request has a span, and each attempt"
    sent = otlp.raw.decode("latin-1").replace(f"acme/{PASSED}", "")
    assert "gen_ai.client.token.usage" in sent
    for canary in SECRETS:
        assert canary not in sent, canary
