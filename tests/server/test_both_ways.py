"""The fast path and the one on documented interfaces give a caller the same bytes, whatever streams through.

`LOWPROXY_STREAMS=20000 pytest tests/server/test_both_ways.py` compares as many; the default is what a test
run can afford.
"""

import asyncio
import json
import os
import random
import re

import pytest

from tests.fakes import FakeUpstream, Seen, Wire
from tests.gateway import CHAT, asking, gateway_over

STREAMS = int(os.environ.get("LOWPROXY_STREAMS", "300"))
CALLERS = 8
PUBLIC = '[relay]\nupstream_client = "public"\ncaller_server = "public"\n'
HEAD = [("Content-Type", "text/event-stream")]

TEXTS = [
    "a",
    "",
    "é",
    "日本",
    "😀",
    '"usage":',
    "[DONE]",
    '"lowrouter"',
    "data: x",
    "\\",
    "\n\n",
]
OTHERS = [
    b": c",
    b"event: ping",
    b"data: [1]",
    b"data: hello",
    b'data: {"object":"ping"}',
    b"",
]
USAGE = '{"prompt_tokens":9,"completion_tokens":3}'


def stream(seed: int) -> list[bytes]:
    """A stream by chance, and where the network cuts it."""
    dice = random.Random(seed)
    end = dice.choice([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
    lead = dice.choice([b"data: ", b"data: ", b"data:"])
    events = [event(dice, lead, end) for _ in range(dice.randint(1, 9))]
    if dice.random() < 0.7:
        events.append(chunk(dice, lead, '"delta":{},"finish_reason":"stop"') + 2 * end)
    if dice.random() < 0.5:
        events.append(lead + f'{{"choices":[],"usage":{USAGE}}}'.encode() + 2 * end)
    if dice.random() < 0.8:
        events.append(lead + b"[DONE]" + dice.choice([2 * end, end, b""]))
    whole = b"".join(events)
    cuts = sorted({dice.randint(1, len(whole)) for _ in range(dice.randint(0, 8))})
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def alike(seed: int) -> list[bytes]:
    """A stream as most are: each chunk like the one before but for its text, and sent by itself."""
    dice = random.Random(seed)
    members = [
        '"id":"c-1"',
        '"model":"upstream-small"',
        '"choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]',
        *(['"obfuscation":%s'] if dice.random() < 0.5 else []),
    ]
    dice.shuffle(members)
    form = f"data: {{{','.join(members)}}}\n\n"
    events = []
    for _ in range(dice.randint(3, 12)):
        text = json.dumps(dice.choice([*TEXTS, "a b", "c, d."]) * dice.randint(1, 9))
        padding = json.dumps(
            dice.choice(["ab9", "x" * dice.randint(1, 300), "a b", ""])
        )
        where = [m for m in members if "%s" in m]
        fill = tuple(padding if "obf" in m else text for m in where)
        events.append((form % fill).encode())
        if dice.random() < 0.1:
            events.append(dice.choice(OTHERS) + b"\n\n")
        if dice.random() < 0.1:  # two at once, or one in two pieces
            events[-2:] = [b"".join(events[-2:])]
        elif dice.random() < 0.1:
            at = dice.randint(1, len(events[-1]) - 1)
            events[-1:] = [events[-1][:at], events[-1][at:]]
    if dice.random() < 0.8:
        fill = tuple('"p"' if "obf" in m else '"t"' for m in members if "%s" in m)
        last = (form % fill).replace("null", '"stop"').encode()
        events += [last, f'data: {{"choices":[],"usage":{USAGE}}}\n\n'.encode()]
    return [*events, *([b"data: [DONE]\n\n"] if dice.random() < 0.8 else [])]


def event(dice: random.Random, lead: bytes, end: bytes) -> bytes:
    """One event on the way."""
    if dice.random() < 0.15:
        return dice.choice(OTHERS) + 2 * end
    text = json.dumps(dice.choice(TEXTS) * dice.randint(1, 40))
    return chunk(dice, lead, f'"delta":{{"content":{text}}}') + 2 * end


def chunk(dice: random.Random, lead: bytes, choice: str) -> bytes:
    """A chunk, its members in one of several orders."""
    members = [
        '"id":"c-1"',
        '"model":"upstream-small"',
        f'"choices":[{{"index":{dice.randint(0, 1)},{choice}}}]',
    ]
    if dice.random() < 0.3:
        members.append(f'"usage":{dice.choice(["null", USAGE])}')
    dice.shuffle(members)
    return lead + f"{{{dice.choice([',', ', ']).join(members)}}}".encode()


async def play(seen: Seen, wire: Wire) -> None:
    """The upstream: the stream that the request names."""
    seed = json.loads(seen.body)["seed"]
    is_alike = seed % 4 >= 2
    await wire.head(headers=HEAD, chunked=True)
    for piece in (alike if is_alike else stream)(seed):
        if piece:
            await wire.chunk(piece)
        if is_alike:  # so that a read is mostly one of them
            await asyncio.sleep(0)
    await wire.end()


async def read_all(gateway, seeds: list[int]) -> dict[int, bytes]:
    """What a caller reads of each stream, but for the ids that are drawn."""
    told: dict[int, bytes] = {}

    async def read(mine: list[int]) -> None:
        async with gateway.caller() as caller:
            for seed in mine:
                body = asking(seed=seed, asked=bool(seed & 1))
                if seed & 1:
                    body["stream_options"] = {"include_usage": True}
                reply = await caller.post(CHAT, body)
                told[seed] = re.sub(rb"gen_[\w-]+", b"gen", await reply.rest())

    await asyncio.gather(*(read(seeds[n::CALLERS]) for n in range(CALLERS)))
    return told


@pytest.mark.parametrize("start", range(0, STREAMS, 1000))
async def test_both_ways_give_the_same_bytes(tmp_path, log_text, start):
    """Random streams in random pieces: what the caller reads does not tell which way they took."""
    seeds = list(range(start, min(start + 1000, STREAMS)))
    async with FakeUpstream() as upstream:
        upstream.on_request = play
        async with (
            gateway_over(tmp_path, upstream) as fast,
            gateway_over(tmp_path, upstream, extra=PUBLIC) as public,
        ):
            one, other = await read_all(fast, seeds), await read_all(public, seeds)
    assert len(one) == len(seeds)
    for seed in seeds:
        assert one[seed] == other[seed], seed
