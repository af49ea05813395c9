"""What the books say of one request: `GET /generation/{id}` and `GET /generation?id=`."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from lowproxy.core.record_fields import openrouter_fields, record_fields
from lowproxy.errors import (
    BadRequestError,
    StoreAwayError,
    UnknownGenerationError,
)
from lowproxy.server import books
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.server.wire import Reply, Request, send
from lowproxy.store.database import StoreError
from lowproxy.store.ledger import Ledger

# Each look opens a connection of its own: enough for people, not for a flood.
_LOOKS = asyncio.Semaphore(4)


async def get_generation(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """The record, for the key that made it; to others it is not there.

    Raises BadRequestError without an id, UnknownGenerationError, StoreAwayError.
    """
    wanted = request.path.partition("/generation/")[2] or request.query.get("id", "")
    if not wanted:
        raise BadRequestError("which one? GET /generation?id=gen_...", param="id")
    assert exchange.key is not None, "the door lets nobody in without a key"
    row = None
    books.write_all(parts)  # the one just made may be asked for
    if parts.ledger is not None:
        row = await _find(parts.ledger, wanted, exchange.key.name)
    if row is None:
        raise UnknownGenerationError(
            "no such generation of this key; a record is kept for store.retention_days",
            param="id",
        )
    exchange.http_status = 200
    data = {**openrouter_fields(row), "lowrouter": record_fields(row)}
    return send(request, 200, exchange.answer_fields(), orjson.dumps({"data": data}))


async def _find(
    ledger: Ledger, generation_id: str, key_id: str
) -> Mapping[str, Any] | None:
    waiting = ledger.waiting(generation_id)
    if waiting is not None:
        return waiting if waiting["key_id"] == key_id else None
    try:
        async with _LOOKS:
            return await asyncio.to_thread(ledger.find, generation_id, key_id)
    except StoreError as exc:
        raise StoreAwayError("the records cannot be read now", retry_after_s=5) from exc
