"""What counts as an answer: a whole body that can be read, or a stream whose first event is not an error."""

import asyncio
from datetime import UTC, datetime
from typing import Any, NamedTuple

import attrs

from lowproxy.core.chat import ChatRequest
from lowproxy.core.headers import media_type
from lowproxy.core.parsing import loads
from lowproxy.core.sse import Cutter, payload
from lowproxy.core.upstreams import Candidate
from lowproxy.errors import UpstreamCutError, UpstreamError, UpstreamUnreadableError
from lowproxy.providers import DIALECTS
from lowproxy.providers.provider import Dialect
from lowproxy.transport.answer import Answer
from lowproxy.transport.run import in_task

# A unary answer is held whole, since `lowrouter` goes into it; decoded, so a compressed bomb ends here too.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
JSON = "application/json"
# Of an answer that is an error, more than this is not an explanation.
MAX_ERROR_BYTES = 64 * 1024
# A first event beyond this is no error object: it is passed on as it comes.
MAX_OPENING_BYTES = 256 * 1024
# How long comments alone (a provider's heartbeat) may wait for the event that decides: longer, and the
# caller needs them to keep its own connection alive.
COMMENT_HOLD_S = 1.0


class Whole(NamedTuple):
    """A unary answer: `body` is JSON and `parsed` is what it says."""

    candidate: Candidate
    answer: Answer
    body: bytes
    parsed: dict[str, Any]

    def __repr__(self) -> str:
        """Without what was said."""
        return f"Whole({self.candidate!r})"


_new: Any = tuple.__new__  # a third of what `Whole(...)` costs


@attrs.frozen
class Stream:
    """A stream that has begun: `first` holds what has been read of it, `began` when it was asked for."""

    candidate: Candidate
    answer: Answer
    first: bytes = attrs.field(repr=False)
    began: float


def at_once(candidate: Candidate, dialect: Dialect, answer: Answer) -> Whole | None:
    """The unary answer that is here in one piece, as nearly all are; None: `read` finds out what it is."""
    body = answer.whole
    if not body or answer.status != 200:
        return None
    fields = answer.fields
    if fields.get("content-type") != JSON and media_type(fields) != JSON:
        return None
    try:
        parsed = loads(body)
    except ValueError:
        return None
    if type(parsed) is not dict or dialect.failure_within(candidate, parsed):
        return None
    whole: Whole = _new(Whole, (candidate, answer, body, parsed))
    return whole


async def read(
    candidate: Candidate, chat: ChatRequest, answer: Answer, began: float
) -> Whole | Stream:
    """What an answer is, as far as it has to be read to know. Raises UpstreamError where it is none."""
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
        if event is not None and (fault := dialect.failure_within(candidate, event)):
            raise _with_usage(fault, event)
        if not first:
            raise UpstreamCutError(
                f"{candidate.endpoint.id}: the stream ended before its first event"
            )
        return Stream(candidate, answer, first, began)
    body = await _body(answer, MAX_ANSWER_BYTES)
    parsed = _object(body)
    if body is None or parsed is None:
        raise UpstreamUnreadableError(
            f"{candidate.endpoint.id}: the answer is not a JSON object"
        )
    if fault := dialect.failure_within(candidate, parsed):
        raise _with_usage(fault, parsed)
    return Whole(candidate, answer, body, parsed)


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
    # Only a first event in pieces, or behind comments, needs a timer of its own.
    await in_task()
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
