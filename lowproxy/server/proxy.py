"""One chat completion: the steps in their order. The rooms do the work."""

import time
from functools import partial

from lowproxy.core import splice
from lowproxy.core.chat import ChatRequest
from lowproxy.core.chunks import text_bytes
from lowproxy.core.cost import money
from lowproxy.core.eco_accuracy import MEDIA
from lowproxy.core.eco_block import eco_text
from lowproxy.core.eco_measured import told_above, told_in
from lowproxy.core.grid_reading import grid_age_s
from lowproxy.core.headers import media_type
from lowproxy.core.parsing import dumps
from lowproxy.core.tail import TailRewriter
from lowproxy.core.upstreams import Candidate
from lowproxy.core.usage import Usage
from lowproxy.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    UnsupportedMediaTypeError,
)
from lowproxy.server.admission import admit, admit_here, cost_fields
from lowproxy.server.choosing import ECO, REGION, TRACE, choose, wants_trace
from lowproxy.server.exchange import Exchange
from lowproxy.server.gathered import Gathered
from lowproxy.server.opening import open_answer, stream_fields
from lowproxy.server.parts import Parts
from lowproxy.server.relay import relay
from lowproxy.server.wire import Reply, Request, send
from lowproxy.store.limiter import MemoryLimiter
from lowproxy.transport.dispatch import Whole
from lowproxy.transport.watch import Watch

# English text has about four bytes to a token; only used where an upstream sends no usage.
_BYTES_PER_TOKEN = 4


async def chat_completions(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """`POST /chat/completions`."""
    limit = parts.config.server.max_body_bytes
    body = body_here(request, limit)
    if body is None:
        body = await body_to_come(request, limit, parts.body_watch)
    headers = request.headers
    chat = ChatRequest.parse(body, headers.get(REGION), headers.get(ECO))
    del body
    exchange.requested_model = chat.model
    exchange.streamed = chat.stream
    exchange.eco = chat.preferences.eco
    if chat.has_media:
        exchange.notes = (MEDIA,)
    key = exchange.key
    assert key is not None, "the door lets nobody in without a key"
    if header := headers.get(TRACE):
        exchange.trace = wants_trace(header)
    carbon_price = 0.0
    if parts.carbon is not None:
        carbon_price = parts.carbon.admit(key, exchange.began)
    decision = choose(parts, exchange, chat, carbon_price)
    if key.limits is not None:
        limiter = parts.limiter
        if isinstance(limiter, MemoryLimiter):
            decision = admit_here(parts, limiter, exchange, chat, decision)
        else:
            decision = await admit(parts, exchange, chat, decision)
    exchange.decision, exchange.candidate = decision, decision.candidates[0]
    try:
        opened = await open_answer(parts, request, decision, chat, exchange)
    except BaseException:
        exchange.answered()
        raise
    exchange.candidate = opened.candidate
    if exchange.conversation is not None and parts.affinity is not None:
        tokens = _tokens(chat.prompt_bytes)
        where, now = opened.candidate.id, time.monotonic()
        parts.affinity.keep(exchange.conversation, where, tokens, now)
    if (reading := told_above(opened.answer.fields)) is not None:
        exchange.heard(reading)
    if isinstance(opened, Whole):
        return _whole(parts, request, opened, chat, exchange)
    tail = TailRewriter(
        model=opened.candidate.model.id,
        wants_usage=chat.wants_usage,
        annotate=partial(annotation, parts, exchange, opened.candidate),
        prompt_tokens=_tokens(chat.prompt_bytes),
        hear=exchange.heard,
        reading_is_late=opened.candidate.endpoint.provider.energy_late,
    )
    del chat, decision  # the body is not needed while the answer streams
    caller = exchange.begun
    if caller is None:
        fields = stream_fields(exchange, opened.answer)
        caller = request.stream(opened.answer.status, fields)
    return await relay(parts, opened, tail, exchange, caller)


def annotation(
    parts: Parts, exchange: Exchange, candidate: Candidate, usage: Usage | None
) -> bytes:
    """The JSON of the `lowrouter` object. Notes usage and impact in the exchange."""
    cost = eco = trace = ""
    exchange.usage = exchange.weighed = usage
    prices = candidate.model.prices
    if prices is not None and usage is not None:
        exchange.cost_nano = cost_nano = prices.cost_nano(usage)
        # A number as JSON has it, too; the header field and the access line say the same.
        exchange.cost = told = money(cost_nano)
        cost = f',"cost":{told},"currency":"{prices.currency}"'
    exchange.impact = impact = parts.scales.weigh(
        candidate, usage, exchange.notes, exchange.reading
    )
    if impact is not None:
        is_full = exchange.eco == "full" if exchange.eco else parts.config.eco.full
        eco = eco_text(impact, is_full)
        if is_full and impact.grid.live:
            age_s = grid_age_s(impact.grid.at, exchange.created_at)
            eco = f'{eco[:-1]},"grid_age_s":{age_s}}}'
        eco = f',"eco":{eco}'
    if exchange.trace:
        trace = f',"trace":{dumps(exchange.routing_trace()).decode()}'
    return (
        f'{{"generation_id":"{exchange.generation_id}"'
        f",{candidate.named[exchange.pinned]}{cost}{eco}{trace}}}"
    ).encode()


def body_here(request: Request, limit: int) -> bytes | None:
    """The decoded body where it came with the head, as nearly every one does; else None.

    Raises what the caller is to be told where it is too large or not JSON.
    """
    kind = media_type(request.headers)
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaTypeError(
            f"the body must be application/json, not {kind[:80]}"
        )
    body = request.whole()
    if body is not None and len(body) > limit:
        raise _too_large(limit)
    return body


async def body_to_come(request: Request, limit: int, watch: Watch) -> bytes:
    """The decoded body; raises what the caller is to be told where it is too large or too slow."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    request.say_continue()
    gathered = Gathered()
    try:
        with watch.guard():
            while data := await request.more():
                gathered.add(data)
                if gathered.size > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise BodyTimeoutError(
            f"the body did not arrive within timeouts.body_s ({watch.limit_s:g} s)"
        ) from None
    return gathered.whole()


def _tokens(size: int) -> int:
    """Our own count: rounded up, since something is never nothing."""
    return -(-size // _BYTES_PER_TOKEN)


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is over server.max_body_bytes ({limit} bytes)")


def _whole(
    parts: Parts,
    request: Request,
    whole: Whole,
    chat: ChatRequest,
    exchange: Exchange,
) -> Reply:
    """A unary answer: the upstream's JSON, `model` set and `lowrouter` added."""
    candidate, parsed, body = whole.candidate, whole.parsed, whole.body
    usage = Usage.read(parsed.get("usage"))
    if usage is None:
        usage = _counted(chat, parsed)
    if (reading := told_in(parsed)) is not None:
        exchange.heard(reading)
    value = annotation(parts, exchange, candidate, usage)
    body = splice.finished(body, parsed, candidate.model.id, value)
    exchange.http_status = whole.answer.status
    fields = exchange.answer_fields() + cost_fields(exchange) + whole.answer.down
    answer = send(request, whole.answer.status, fields, body)
    exchange.first_byte = time.monotonic()
    return answer


def _counted(chat: ChatRequest, parsed: dict[str, object]) -> Usage:
    choices = parsed.get("choices")
    size = 0
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        size += text_bytes(message) if isinstance(message, dict) else 0
    return Usage(_tokens(chat.prompt_bytes), _tokens(size), counted=True)
