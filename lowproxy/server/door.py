"""Where every API request comes in and where it is written down, whatever happens between."""

import asyncio
import contextlib
from collections.abc import Awaitable
from functools import partial
from typing import Any

import structlog
from aiohttp.hdrs import AUTHORIZATION

from lowproxy.core.headers import lines
from lowproxy.core.parsing import dumps
from lowproxy.errors import LowproxyError, OverloadedError, UpstreamRefusedError
from lowproxy.server import books, endpoints
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Live, Parts
from lowproxy.server.wire import Finished, Handler, Reply, Request, send

log = structlog.get_logger("lowproxy.door")


def make_door(live: Live) -> Handler:
    """The handler for `wire.Server`."""
    return partial(door, live)


async def door(live: Live, request: Request) -> Reply:
    """Opens the exchange, finds the endpoint, answers failures, writes everything down."""
    parts = live.parts  # to the end of the request, whatever is reloaded meanwhile
    exchange = Exchange(request.method == "POST")
    parts.metrics.open_requests += 1
    if parts.telemetry is not None:
        exchange.span = parts.telemetry.begin(request.headers)
    connection = request.connection
    parts.busy[connection] = request
    try:
        return await _handle(parts, request, exchange)
    except Finished as finished:
        return finished.reply
    except LowproxyError as failure:
        return _answer(request, exchange, failure)
    except (asyncio.CancelledError, ConnectionError):
        # The caller is gone. What it had been sent is partial; nothing is closed.
        exchange.outcome = (
            "partial" if exchange.first_byte is not None else "client_closed"
        )
        exchange.http_status = exchange.http_status or 499
        raise
    except Exception as exc:  # noqa: BLE001 - the caller is owed an answer, the books a line
        _complain(exchange, exc)
        bug = LowproxyError(f"internal error; quote {exchange.generation_id}")
        return _answer(request, exchange, bug)
    finally:
        parts.metrics.open_requests -= 1
        parts.busy.pop(connection, None)
        try:
            if not exchange.deferred:
                books.write_down(parts, exchange)
        except Exception as exc:  # noqa: BLE001 - a full disk must not undo an answer
            _complain(exchange, exc)


def _handle(parts: Parts, request: Request, exchange: Exchange) -> Awaitable[Reply]:
    """What answers the request, where it may be answered; to be awaited."""
    exact = endpoints.EXACT.get((request.method, request.raw_path))
    if exact is not None:
        exchange.endpoint, handle = exact
    else:
        endpoint = endpoints.find(request.raw_path)
        exchange.endpoint = endpoint.name
        handle = endpoints.handler(endpoint, request.method)
    authorization = request.headers.get(AUTHORIZATION)
    exchange.key = parts.keys.caller(authorization, exchange.created_at)
    open_requests = parts.metrics.open_requests + len(parts.aftermath.tasks)
    if open_requests > parts.config.server.max_requests:
        raise OverloadedError("server.max_requests are being served", retry_after_s=1)
    return handle(parts, request, exchange)


def _answer(request: Request, exchange: Exchange, failure: LowproxyError) -> Reply:
    status = (
        failure.refused_status
        if isinstance(failure, UpstreamRefusedError)
        else failure.status
    )
    exchange.failed(failure, status)
    if exchange.begun is not None or exchange.first_byte is not None:
        # Another head would be taken for a part of the body: better an end that is seen to be one.
        return Reply(status, keep_alive=False)
    exchange.http_status = status
    fields = exchange.answer_fields() + lines(failure.headers().items())
    # A body that was not read to its end would be taken for the next request.
    return send(
        request,
        status,
        fields,
        dumps(_body(failure, exchange)),
        close=not request.complete,
    )


def _body(failure: LowproxyError, exchange: Exchange) -> dict[str, Any]:
    """The error object, and how the request was routed where the caller wants to know."""
    body = failure.body()
    if exchange.trace and exchange.decision is not None:
        return {**body, "lowrouter": exchange.about()}
    return body


def _complain(exchange: Exchange, exc: Exception) -> None:
    """A bug of ours. Its text may quote the request, so only the type and the place are logged."""
    with contextlib.suppress(Exception):
        log.error(
            "bug",
            generation_id=exchange.generation_id,
            kind=type(exc).__name__,
            at=_place(exc),
        )


def _place(exc: BaseException) -> str:
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
