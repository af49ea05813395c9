"""Wait for an answer: what the caller sees meanwhile, and what becomes of it when the caller leaves."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from lowproxy.core.chat import ChatRequest
from lowproxy.core.eco_measured import told_above, told_in
from lowproxy.core.headers import UP, forwarded, lines
from lowproxy.core.parsing import dumps
from lowproxy.core.routing import RouteDecision
from lowproxy.core.usage import Usage
from lowproxy.errors import LowproxyError, UpstreamError, UpstreamUnreadableError
from lowproxy.server import books
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.server.wire import CallerStream, Finished, Request
from lowproxy.transport.answer import Answer
from lowproxy.transport.dispatch import Stream, Whole

Opened = Whole | Stream

_COMMENT = b": keep-alive\n\n"


def stream_fields(exchange: Exchange, answer: Answer | None) -> str:
    """The header fields of a stream, as the lines of its head; `answer` is the upstream's, if there is one."""
    kind, down = "text/event-stream", ""
    if answer is not None:
        kind, down = answer.fields.get("content-type", kind), answer.down
    ours = f"Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n{exchange.answer_fields()}"
    return lines([("Content-Type", kind)]) + ours + down


def open_answer(
    parts: Parts,
    request: Request,
    decision: RouteDecision,
    chat: ChatRequest,
    exchange: Exchange,
) -> Coroutine[Any, Any, Opened]:
    """The first answer that is one; `exchange.begun` is the caller's stream where it had to begin before.

    Raises UpstreamError while an answer can still say so, else Finished.
    """
    every_s = parts.config.relay.comment_every_s if chat.stream else 0.0
    # Of a stream nothing has come yet: there is no usage to read on for.
    keeps = parts.aftermath.keeps and not chat.stream
    fields: Mapping[str, str] = request.headers
    if exchange.span is not None:  # the upstream is asked by us, not by the caller
        fields = {**dict(forwarded(fields, UP)), **dict(exchange.span.fields())}
    work = parts.dispatch.open(decision, chat, fields, exchange.attempts)
    if every_s or keeps:
        return _wait(parts, request, work, exchange, every_s)
    return work


async def _wait(
    parts: Parts,
    request: Request,
    work: Coroutine[Any, Any, Opened],
    exchange: Exchange,
    every_s: float,
) -> Opened:
    task = asyncio.create_task(work, name=f"open {exchange.generation_id}")
    caller: CallerStream | None = None
    try:
        while not (await asyncio.wait({task}, timeout=every_s or None))[0]:
            if caller is None:
                caller = request.stream(200, stream_fields(exchange, None))
                exchange.http_status, exchange.begun = 200, caller
            caller.write(_COMMENT)
    except asyncio.CancelledError:
        if every_s or parts.life.cutting:
            task.cancel()
            task.add_done_callback(_close)
        else:
            exchange.deferred = True
            name = f"wait on {exchange.generation_id}"
            parts.aftermath.adopt(_wait_on(parts, task, exchange), name)
        raise
    if caller is None:
        return task.result()
    return await _settle(task, exchange, caller)


async def _settle(
    task: asyncio.Task[Opened], exchange: Exchange, caller: CallerStream
) -> Opened:
    """The status 200 is out: a failure can only be told within the stream."""
    failure: LowproxyError
    try:
        opened = task.result()
    except LowproxyError as exc:
        failure = exc
    else:
        if isinstance(opened, Stream):
            return opened
        opened.answer.close()
        name = opened.candidate.endpoint.id
        failure = UpstreamUnreadableError(f"{name}: answered a stream with one object")
    exchange.failed(failure, 200)
    event = dumps({**failure.body(), "lowrouter": exchange.about()})
    raise Finished(await caller.finish(b"data: " + event + b"\n\n"))


def _close(task: asyncio.Task[Opened]) -> None:
    """The answer came in the moment in which the caller left."""
    if not task.cancelled() and task.exception() is None:
        task.result().answer.close()


async def _wait_on(
    parts: Parts, task: asyncio.Task[Opened], exchange: Exchange
) -> None:
    """Nobody waits for the answer any more but the books."""
    try:
        opened = await task
        exchange.candidate = opened.candidate
        opened.answer.close()
        if isinstance(opened, Whole):
            exchange.usage = Usage.read(opened.parsed.get("usage"))
            reading = told_above(opened.answer.fields) or told_in(opened.parsed)
            if reading is not None:
                exchange.heard(reading)
    except UpstreamError as failure:
        exchange.error = failure.code
    finally:
        task.cancel()
        exchange.outcome = "client_closed"
        books.write_down(parts, exchange)
