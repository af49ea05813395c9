"""Asking: within a time, within a size, and nowhere else."""

import gzip

import pytest
from aiohttp import web

from lowproxy.core.grid_reading import RejectedReadingError
from lowproxy.grid.asking import MAX_BYTES, RefusedError, ask, running_session
from lowproxy.grid.source import Question
from tests.grid_server import NOW


async def asked(grid, fault=None, timeout_s=5.0):
    """The answer of the fake, or what is said of it."""
    grid.fault = fault
    question = Question(f"{grid.base_url}/zones", params={"a[]": "b c"})
    async with running_session() as session:
        return await ask(session, question, timeout_s, NOW)


async def test_an_answer(grid):
    """Parameters arrive; nothing compressed is asked for, no cookie is kept."""
    reply = await asked(grid)
    assert reply.body.startswith(b"{")
    assert reply.at == NOW
    (seen,) = grid.seen
    assert seen.query["a[]"] == "b c"
    assert seen.headers["Accept-Encoding"] == "identity"
    assert seen.headers["User-Agent"].startswith("lowproxy/")


async def test_the_largest_answer(grid):
    """To the byte."""
    body = b"x" * MAX_BYTES
    assert (await asked(grid, web.Response(body=body))).body == body
    with pytest.raises(RejectedReadingError, match="too_large"):
        await asked(grid, web.Response(body=body + b"x"))


async def test_a_bomb_is_not_unfolded(grid):
    """What is compressed all the same is refused as it is."""
    bomb = gzip.compress(b" " * 10_000_000)
    fault = web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(RejectedReadingError, match="garbage"):
        await asked(grid, fault)


async def test_a_redirect_is_not_followed(grid):
    """It would take the token along."""
    fault = web.Response(status=307, headers={"Location": f"{grid.base_url}/zones"})
    with pytest.raises(RejectedReadingError, match="status"):
        await asked(grid, fault)
    assert len(grid.seen) == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
async def test_time_is_over_all(grid, fault):
    """A head in time and a body that never ends are too late as well."""
    with pytest.raises(RejectedReadingError, match="timeout"):
        await asked(grid, fault, timeout_s=0.02)


@pytest.mark.parametrize(
    ("value", "after_s"),
    [
        ("120", 120),
        ("Sun, 22 Nov 2026 10:22:00 GMT", 120),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("9" * 4000, 999999999),
    ],
)
async def test_retry_after(grid, value, after_s):
    """Seconds or a date; anything else is nothing."""
    with pytest.raises(RefusedError) as caught:
        await asked(grid, web.Response(status=429, headers={"Retry-After": value}))
    assert caught.value.retry_after_s == after_s


async def test_nobody_there():
    """Said in one word: the URL may hold a token."""
    async with running_session() as session:
        with pytest.raises(RejectedReadingError) as caught:
            question = Question("http://127.0.0.1:1/", params={"key": "canary"})
            await ask(session, question, 5.0, NOW)
    assert str(caught.value) == "unreachable"
    assert caught.value.__cause__ is None
