"""Asks a question, over HTTP or of a file: within a time, within a size, and nowhere else."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import attrs

from lowproxy import __version__
from lowproxy.core.grid_reading import RejectedReadingError
from lowproxy.grid.source import Question

# Twice the largest true answer; parsing more would keep requests waiting.
MAX_BYTES = 128 * 1024
# Such statuses are about us and not about a zone: asking on makes it worse.
REFUSALS = {401: "unauthorized", 403: "forbidden", 429: "rate_limited"}
_FIELDS = {
    "User-Agent": f"lowproxy/{__version__}",
    "Accept": "application/json, application/xml",
    # What is not compressed cannot unfold into more than MAX_BYTES.
    "Accept-Encoding": "identity",
}


@attrs.frozen
class Reply:
    """A body, and when it is of: when the file was written or the answer was asked for."""

    body: bytes
    at: float


class RefusedError(RejectedReadingError):
    """The source wants us to stay away; `retry_after_s` is for how long, where it says."""

    def __init__(self, reason: str, retry_after_s: float | None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@asynccontextmanager
async def running_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session of the grid's own: no cookies, no decompression, no environment."""
    async with aiohttp.ClientSession(
        headers=_FIELDS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(),  # `ask` has one over all
    ) as session:
        yield session


async def ask(
    session: aiohttp.ClientSession, question: Question, timeout_s: float, now: float
) -> Reply:
    """The answer to a question; raises RejectedReadingError, which repeats nothing of either."""
    try:
        async with asyncio.timeout(timeout_s):
            if isinstance(question.where, Path):
                return await asyncio.to_thread(_look, question.where)
            return Reply(await _get(session, question, question.where, now), now)
    except TimeoutError:
        raise RejectedReadingError("timeout") from None
    except (aiohttp.ClientError, OSError, ValueError):
        # Their texts hold the URL, and that may hold the token.
        raise RejectedReadingError("unreachable") from None


async def _get(
    session: aiohttp.ClientSession, question: Question, url: str, now: float
) -> bytes:
    async with session.get(
        url, params=question.params, headers=question.fields, allow_redirects=False
    ) as answer:
        if answer.status in REFUSALS:
            after = _retry_after_s(answer.headers.get("Retry-After", ""), now)
            raise RefusedError(REFUSALS[answer.status], after)
        if answer.status != 200:
            raise RejectedReadingError("status")
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise RejectedReadingError("garbage")
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > MAX_BYTES:
                raise RejectedReadingError("too_large")
        return bytes(body)


def _look(path: Path) -> Reply:
    with path.open("rb") as file:
        at = path.stat().st_mtime
        body = file.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise RejectedReadingError("too_large")
    return Reply(body, at)


def _retry_after_s(value: str, now: float) -> float | None:
    """Seconds from a number or a date; None where it is neither."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, IndexError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(date.timestamp() - now, 0.0)
