"""Try the candidates in order until one answers; after its first event nothing is retried.

What counts as an answer is decided here, before a byte has gone to the caller: a whole body that can be
read, or a stream whose first event is not an error.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from lowproxy.core.chat import ChatRequest
from lowproxy.core.headers import media_type
from lowproxy.core.health import Health
from lowproxy.core.parsing import loads
from lowproxy.core.routing import RouteDecision
from lowproxy.core.sse import Cutter, payload
from lowproxy.core.upstreams import Candidate
from lowproxy.core.usage import Usage
from lowproxy.errors import (
    UpstreamCutError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
    UpstreamUnreadableError,
)
from lowproxy.providers import DIALECTS
from lowproxy.transport.answer import Answer, Client
from lowproxy.transport.run import in_task
from lowproxy.transport.watch import Watch

# Enough to get past one bad region; each attempt may take a connect time-out.
MAX_ATTEMPTS = 6
# A unary answer is held whole, since `lowrouter` goes into it; decoded, so a compressed bomb ends here too.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
# Of an answer that is an error, more than this is not an explanation.
MAX_ERROR_BYTES = 64 * 1024
# A first event beyond this is no error object: it is passed on as it comes.
MAX_OPENING_BYTES = 256 * 1024
# How long comments alone (a provider's heartbeat) may wait for the event that decides: longer, and the
# caller needs them to keep its own connection alive.
COMMENT_HOLD_S = 1.0


@attrs.frozen(slots=False)
class Attempt:
    """One candidate that was tried: what became of it, for the record."""

    candidate: str
    outcome: str  # "ok", an error's code, or "abandoned": the caller left meanwhile
    duration_s: float
    wasted: Usage | None = None  # tokens of an answer that failed, where it told them


@attrs.frozen(slots=False)
class Whole:
    """A unary answer: `body` is JSON and `parsed` is what it says."""

    candidate: Candidate
    answer: Answer
    body: bytes = attrs.field(repr=False)
    parsed: dict[str, Any] = attrs.field(repr=False)


@attrs.frozen
class Stream:
    """A stream that has begun: `first` holds what has been read of it."""

    candidate: Candidate
    answer: Answer
    first: bytes = attrs.field(repr=False)


@attrs.frozen
class Dispatch:
    """Sends requests up. `now` is the loop's clock in seconds."""

    client: Client
    health: Health
    first_byte: Watch
    unary: Watch
    now: Callable[[], float]

    async def open(
        self,
        decision: RouteDecision,
        chat: ChatRequest,
        fields: Mapping[str, str],
        attempts: list[Attempt],
    ) -> Whole | Stream:
        """The first candidate's answer that is one. Adds to `attempts` as it goes, one per candidate.

        Raises the UpstreamError that tells the caller most when no candidate is left.
        """
        failures: list[UpstreamError] = []
        for candidate in decision.candidates[:MAX_ATTEMPTS]:
            began = self.now()
            try:
                opened = await self._attempt(candidate, chat, fields)
            except UpstreamError as failure:
                took_s, wasted = self.now() - began, Usage.read(failure.usage)
                attempts.append(Attempt(candidate.id, failure.code, took_s, wasted))
                if isinstance(failure, UpstreamRefusedError):
                    raise
                self.health.failed(candidate.id, self.now(), failure.retry_after_s)
                failures.append(failure)
            except asyncio.CancelledError:
                attempts.append(Attempt(candidate.id, "abandoned", self.now() - began))
                raise
            else:
                attempts.append(Attempt(candidate.id, "ok", self.now() - began))
                self.health.succeeded(candidate.id)
                return opened
        raise most_telling(failures)

    async def _attempt(
        self, candidate: Candidate, chat: ChatRequest, fields: Mapping[str, str]
    ) -> Whole | Stream:
        dialect = DIALECTS[candidate.endpoint.provider.dialect]
        request = dialect.dress(chat, candidate, fields)
        watch = self.first_byte if chat.stream else self.unary
        try:
            with watch.guard():
                answer = await self.client.send(request)
                try:
                    return await self._read(candidate, chat, answer)
                except BaseException:
                    answer.close()
                    raise
        except TimeoutError:
            option = "first_byte_s" if chat.stream else "unary_s"
            raise UpstreamTimeoutError(
                f"{candidate.endpoint.id}: no answer within {option} ({watch.limit_s:g} s)"
            ) from None

    async def _read(
        self, candidate: Candidate, chat: ChatRequest, answer: Answer
    ) -> Whole | Stream:
        dialect = DIALECTS[candidate.endpoint.provider.dialect]
        if not 200 <= answer.status < 300:
            body = await _body(answer, MAX_ERROR_BYTES)
            failure = dialect.failure(
                candidate, answer.status, answer.fields, body or b"", datetime.now(UTC)
            )
            raise _with_usage(failure, _object(body))
        kind = media_type(answer.fields)
        if kind == "text/event-stream" or (chat.stream and "json" not in kind):
            first, event = await _opening(answer)
            if event is not None and (
                fault := dialect.failure_within(candidate, event)
            ):
                raise _with_usage(fault, event)
            if not first:
                raise UpstreamCutError(
                    f"{candidate.endpoint.id}: the stream ended before its first event"
                )
            return Stream(candidate, answer, first)
        body = await _body(answer, MAX_ANSWER_BYTES)
        parsed = _object(body)
        if body is None or parsed is None:
            raise UpstreamUnreadableError(
                f"{candidate.endpoint.id}: the answer is not a JSON object"
            )
        if fault := dialect.failure_within(candidate, parsed):
            raise _with_usage(fault, parsed)
        return Whole(candidate, answer, body, parsed)


def most_telling(failures: list[UpstreamError]) -> UpstreamError:
    """What the caller is told when every candidate failed.

    429 only where all said so, with the least of their waits; else the last that failed with a request
    under way, else the last that could not be reached.
    """
    limited = [f for f in failures if isinstance(f, UpstreamRateLimitedError)]
    if len(limited) < len(failures):
        others = [f for f in failures if f not in limited]
        sent = [f for f in others if not isinstance(f, UpstreamUnreachableError)]
        return (sent or others)[-1]
    waits = [f.retry_after_s for f in limited if f.retry_after_s is not None]
    return UpstreamRateLimitedError(
        limited[-1].message, retry_after_s=min(waits, default=1.0)
    )


def _with_usage(failure: UpstreamError, said: dict[str, Any] | None) -> UpstreamError:
    failure.usage = said.get("usage") if said else None
    return failure


async def _body(answer: Answer, limit: int) -> bytes | None:
    """The whole body, None where it is over the limit."""
    parts, size = [], 0
    while data := await answer.more():
        parts.append(data)
        size += len(data)
        if size > limit:
            answer.close()
            return None
    return b"".join(parts)


async def _opening(answer: Answer) -> tuple[bytes, dict[str, Any] | None]:
    """What came up to the first event, and that event parsed; None where it cannot be, or has to wait."""
    cutter = Cutter()
    parts = [await answer.more()]
    is_event, event = _first_event(cutter, parts[0])
    if is_event or not parts[0]:
        return parts[0], event
    await (
        in_task()
    )  # only a first event in pieces, or behind comments, needs a timer of its own
    deadline: asyncio.Timeout | None = None
    try:
        async with asyncio.timeout(None) as deadline:
            while not is_event and (size := sum(map(len, parts))) < MAX_OPENING_BYTES:
                if deadline.when() is None and size > cutter.pending:  # a comment
                    now = asyncio.get_running_loop().time()
                    deadline.reschedule(now + COMMENT_HOLD_S)
                parts.append(await answer.more())
                if not parts[-1]:
                    break
                is_event, event = _first_event(cutter, parts[-1])
    except TimeoutError:
        if deadline is None or not deadline.expired():
            raise
    return b"".join(parts), event


def _first_event(cutter: Cutter, data: bytes) -> tuple[bool, dict[str, Any] | None]:
    """Whether `data` completes an event that is no comment, and the event parsed."""
    for event in cutter.feed(data):
        body = payload(event)
        if body is not None:
            return True, _object(body)
    return False, None


def _object(body: bytes | None) -> dict[str, Any] | None:
    try:
        value = loads(body) if body is not None else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
