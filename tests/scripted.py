"""Answers and a client that do as they are told, for the way up without sockets."""

import asyncio
from typing import Any

import attrs

from lowproxy.core.chat import ChatRequest
from lowproxy.core.health import Health
from lowproxy.core.routing import RouteDecision
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Provider
from lowproxy.errors import UpstreamError
from lowproxy.transport.dispatch import Attempt, Dispatch
from lowproxy.transport.watch import Watch
from tests.fakes import Clock

BODY = b'{"model":"m","messages":[{}],"stream":%s}'
EVENT = b'data: {"choices":[{"delta":{}}]}\n\n'
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}


@attrs.define
class Scripted:
    """An answer whose body is a list of reads; an exception among them is raised."""

    reads: list[Any]
    status: int = 200
    fields: dict[str, str] = attrs.field(factory=lambda: JSON)
    closed: bool = False
    down: str = ""
    whole: bytes | None = None

    async def more(self):
        if not self.reads:
            return b""
        read = self.reads.pop(0)
        if isinstance(read, asyncio.Event):
            await read.wait()
            return await self.more()
        if isinstance(read, Exception):
            raise read
        return read

    def close(self):
        self.closed = True


class Client:
    """Gives out answers, or raises them."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def send(self, request):
        self.asked.append(request.to.endpoint_id)
        answer = self.answers.pop(0)
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


def decision(count):
    """That many candidates: e0, e1, ..."""
    return RouteDecision(
        tuple(
            Candidate(
                Model("m", f"p{i}", "up"),
                Endpoint(f"e{i}", Provider(f"p{i}"), "eu", "http://x"),
            )
            for i in range(count)
        ),
        (),
        "price",
    )


async def opened(client, *, stream=False, candidates=3, health=None, limit_s=0.0):
    """What `open` gives or raises, and the attempts."""
    attempts: list[Attempt] = []
    chat = ChatRequest.parse(BODY % (b"true" if stream else b"false"))
    made = Dispatch(
        client,
        health or Health(),
        Watch(limit_s, "first_byte_s"),
        Watch(limit_s, "unary_s"),
        Clock(5.0),
    )
    told: Any
    try:
        told = await made.open(decision(candidates), chat, {}, attempts)
    except UpstreamError as failure:
        told = failure
    return told, [(a.candidate, a.outcome) for a in attempts]
