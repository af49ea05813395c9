"""A whole gateway answers requests on one connection as one whose caller's side is aiohttp's, to the byte.

`LOWPROXY_CALLERS=20000 pytest tests/server/test_both_gateways.py` compares as many connections.
"""

import asyncio
import gzip
import json
import os
import random
import re

import pytest

from tests.fakes import FakeUpstream, RawCaller
from tests.gateway import CHAT, KEY, MODEL, gateway_over
from tests.server.test_both_servers import cut

CALLERS = int(os.environ.get("LOWPROXY_CALLERS", "80"))
PUBLIC = '[relay]\nupstream_client = "public"\ncaller_server = "public"\n'
# What differs between any two answers, and what is said of the connection alone.
DRAWN = re.compile(rb"gen_[\w-]+")
HOP = {"date", "server", "connection", "x-lowrouter-generation-id"}

SPELLED = [
    '{"model":"%s","messages":%s}',
    '{ "model" : "%s",\n"messages":%s }',
    '{"messages":%s,"model":"%s"}',
    '{"mod\\u0065l":"%s","messages":%s}',
    '{"model":"other","messages":[],"model":"%s","messages":%s}',
    '{"x":{"model":"%s"},"model":"acme/small","messages":%s}',
    '{"x":"model","model":"%s","messages":%s,"user":"\\"model\\":\\"x\\""}',
    '{"model":"%s","messages":%s,"stream":true}',
    '{"model":"%s","messages":%s,"stream":true,"stream_options":{"include_usage":true}}',
    '{"model":"%s","messages":%s,"route":{"zone":"FR"},"models":["acme/small"]}',
]
TEXTS = [
    "Hi",
    '"model":"acme/small"',
    'POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{"model":"x"}',
    "é\\" * 9000,
    '\\"model' * 30_000,
]
LENGTHS = ["Content-Length: %d", "content-length:  %d ", "Content-Length: 00%d"]
MORE = ["X-A: b", "Accept: */*", "Expect: 100-continue", "Content-Encoding: gzip"]
OTHERS = ["GET /api/v1/models", "HEAD /v1/models", "GET /nowhere", f"GET {CHAT}"]


def body_of(dice: random.Random) -> bytes:
    """A chat request in one of many spellings, or what is none."""
    if dice.random() < 0.1:
        return dice.choice([b"", b"{}", b"[1]", b'{"model":1}', b"\xff", b'{"a":1}}'])
    form, text = dice.choice(SPELLED), dice.choice(TEXTS)
    dumped = json.dumps(
        [{"role": "user", "content": text}], ensure_ascii=bool(dice.getrandbits(1))
    )
    model = dice.choice([MODEL] * 8 + ["acme/none", "lowrouter/auto", 'a\\"b'])
    parts = (dumped, model) if form.startswith('{"messages') else (model, dumped)
    return (form % parts).encode()


def request_of(dice: random.Random, head: list[str]) -> bytes:
    """The request of such a head with a body."""
    text = "\r\n".join(head) + "\r\n\r\n"
    if not head[0].startswith("POST"):
        return text.encode()
    body = body_of(dice)
    if "gzip" in text:
        body = gzip.compress(body, mtime=0)
    if "%d" in text:
        return (text % len(body)).encode() + body
    size = dice.randint(1, max(1, len(body)))
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return text.encode() + b"".join([*chunks, b"0\r\n\r\n"])


def connection(seed: int) -> tuple[list[str], list[bytes]]:
    """The methods and the bytes of the requests on a connection."""
    dice = random.Random(seed)
    methods, texts, head = [], [], head_of(dice)
    for _ in range(dice.randint(2, 6)):
        if dice.random() < 0.3:
            head = head_of(dice)
        methods.append(head[0].partition(" ")[0])
        texts.append(request_of(dice, head))
    if dice.random() < 0.2:  # nothing can follow it
        last = dice.choice(["Connection: close", "Upgrade: h2c\r\nConnection: upgrade"])
        methods.append("POST")
        texts.append(request_of(dice, [*head_of(dice, "POST"), last]))
    return methods, texts


def head_of(dice: random.Random, method: str = "") -> list[str]:
    """The lines of a head."""
    first = f"POST {CHAT}"
    if not method and dice.random() < 0.15:
        first = dice.choice(OTHERS)
    lines = ["Host: h", f"Authorization: Bearer {KEY}"]
    if first.startswith("POST"):
        lines.append(dice.choice(LENGTHS))
        if dice.random() < 0.1:
            lines[-1] = "Transfer-Encoding: chunked"
    if first.startswith("POST") and dice.random() < 0.25:
        lines.append(dice.choice(MORE))
    dice.shuffle(lines)
    return [f"{first} HTTP/1.1", *lines]


async def answers(gateway, seed: int) -> list[object]:
    """What the caller reads of each answer."""
    methods, texts = connection(seed)

    async def send(caller):
        for chunk in cut(seed, texts):
            await caller.send(chunk)
            await asyncio.sleep(0)

    told: list[object] = []
    async with RawCaller(gateway.port) as caller:
        sending = asyncio.ensure_future(send(caller))
        for method in methods:
            caller.method = method
            reply = await caller.reply()
            fields = {k: v for k, v in reply.headers.items() if k not in HOP}
            stays = reply.headers.get("connection", "keep-alive").lower()
            body = DRAWN.sub(b"gen", await reply.rest())
            told.append((reply.status, fields, stays, body))
        await sending
    return told


@pytest.mark.parametrize("start", range(0, CALLERS, 500))
async def test_both_gateways_answer_the_same(tmp_path, log_text, start):
    """Statuses, fields and bodies for the caller, and bodies for the upstream, whatever came before and however cut."""
    async with (
        FakeUpstream() as upstream,
        gateway_over(tmp_path, upstream) as direct,
        gateway_over(tmp_path, upstream, extra=PUBLIC) as public,
    ):
        for seed in range(start, min(start + 500, CALLERS)):
            first = len(upstream.seen)
            one = await answers(direct, seed)
            middle = len(upstream.seen)
            assert one == await answers(public, seed), seed
            bodies = [seen.body for seen in upstream.seen]
            assert bodies[first:middle] == bodies[middle:], seed
