"""One line per fact, in the form that is asked for, and silence where others would talk."""

import asyncio
import io
import json
import logging
import re

import pytest
import structlog

from lowproxy import logs


class Terminal(io.TextIOWrapper):
    """A stream that says it is watched."""

    def isatty(self):
        return True


@pytest.fixture
def told():
    """Sets up and logs one line; gives what was written."""
    before = structlog.get_config()

    def log(form, kind=io.TextIOWrapper, **facts):
        raw = io.BytesIO()
        stream = kind(raw, encoding="utf-8", write_through=True)
        logs.set_up(form, stream)
        structlog.get_logger("x").info("request.done", **facts)
        structlog.get_logger("x").debug("not shown")
        stream.flush()
        return raw.getvalue().decode()

    yield log
    structlog.configure(**before)


def test_json(told):
    """One object per line: time in UTC, level, event, facts."""
    text = told("json", grams=0.25, status="ok", nothing=None)
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    line = json.loads(text)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp")
    )
    assert line == {
        "event": "request.done",
        "level": "info",
        "grams": 0.25,
        "status": "ok",
        "nothing": None,
    }


def test_console(told):
    """For a person: the event and its facts on a line."""
    text = told("console", status="ok")
    assert "request.done" in text
    assert "status=ok" in text
    assert "\x1b" not in text  # colours only where a terminal is


def test_auto(told):
    """Console where somebody watches, else JSON."""
    assert told("auto").startswith("{")
    assert not told("auto", Terminal).startswith("{")


def test_what_json_does_not_know_is_told_as_text(told):
    """A line is never lost for the sake of a value."""
    assert json.loads(told("json", x=ValueError("v")))["x"] == "v"


def test_a_line_break_in_a_fact_does_not_make_a_line(told):
    """Nobody writes a line of their own into the log."""
    assert told("json", x="a\n{}").count("\n") == 1


def test_the_clock_renders_a_second_once():
    """Milliseconds of their own, the second from memory; right when it changes."""
    clock = logs._Clock()
    assert clock.iso(0.0) == "1970-01-01T00:00:00.000Z"
    assert clock.iso(0.9994) == "1970-01-01T00:00:00.999Z"
    assert clock.iso(1.0) == "1970-01-01T00:00:01.000Z"
    assert clock.iso(0.5) == "1970-01-01T00:00:00.500Z"


def test_aiohttp_does_not_log_heads(told):
    """A request head that does not parse is logged by aiohttp, credentials included."""
    told("json")
    for name in ("aiohttp.server", "aiohttp.access"):
        assert not logging.getLogger(name).isEnabledFor(logging.CRITICAL)


def test_lines_that_can_wait_share_a_write():
    """Without a loop a line leaves at once; with one it waits, unless it is worse than information."""
    out = io.BytesIO()
    lines = logs.Lines(out)
    lines.info(b"alone")
    assert out.getvalue() == b"alone\n"

    async def two_and_an_error() -> bytes:
        lines.info(b"one")
        lines.info(b"two")
        waiting = out.getvalue()
        lines.error(b"three")
        return waiting

    assert asyncio.run(two_and_an_error()) == b"alone\n"
    assert out.getvalue() == b"alone\none\ntwo\nthree\n"


def test_many_waiting_lines_are_written_before_their_time():
    """What waits is bounded."""
    out = io.BytesIO()
    lines = logs.Lines(out)

    async def fill() -> None:
        for _ in range(logs.Lines.MOST):
            lines.info(b"x")

    asyncio.run(fill())
    assert out.getvalue() == b"x\n" * logs.Lines.MOST


def test_an_access_line_is_the_same_with_and_without_waiting():
    """The short way gives what structlog gives, but for the time."""
    told = []
    for batched in (False, True):
        stream = io.TextIOWrapper(io.BytesIO())
        flush = logs.set_up("json", stream, batched=batched)
        assert logs.batches() == batched
        if batched:
            logs.take_access_lines([b'"http_status":200,"model":"a"'])
        else:
            access = structlog.get_logger("lowproxy.access")
            access.info("request.done", http_status=200, model="a")
        flush()
        line = json.loads(stream.buffer.getvalue())
        assert line.pop("timestamp")
        told.append(line)
    right = {"level": "info", "event": "request.done", "http_status": 200, "model": "a"}
    assert told == [right, right]


class Counting(io.BytesIO):
    """Counts its writes; fails when told."""

    def __init__(self):
        super().__init__()
        self.writes = 0
        self.full = False

    def write(self, data):
        if self.full:
            raise OSError(28, "No space left on device")
        self.writes += 1
        return super().write(data)


async def test_lines_share_a_write():
    """Those of a moment; in order, each on its own line."""
    out = Counting()
    lines = logs.Lines(out)
    for number in range(5):
        lines.info(b"%d" % number)
    assert out.writes == 0
    lines.flush()
    assert (out.writes, out.getvalue()) == (1, b"0\n1\n2\n3\n4\n")
    lines.flush()
    assert out.writes == 1


async def test_lines_do_not_wait_for_ever(monkeypatch):
    """They leave by themselves, and sooner where there are many or one is bad."""
    monkeypatch.setattr(logs.Lines, "FLUSH_S", 0.01)
    out = Counting()
    lines = logs.Lines(out)
    lines.info(b"a")
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, over.set)
    await over.wait()
    assert out.getvalue() == b"a\n"
    lines.info(b"b")
    lines.error(b"c")
    assert out.getvalue() == b"a\nb\nc\n"
    for _ in range(logs.Lines.MOST):
        lines.info(b"d")
    assert out.getvalue().endswith(b"d\n")


def test_without_a_loop_nothing_waits():
    """Before the gateway runs there is nobody to come back for a line."""
    out = Counting()
    logs.Lines(out).info(b"a")
    assert out.getvalue() == b"a\n"


def test_batched_lines_are_the_same(told):
    """In order with those of other loggers."""
    before = structlog.get_config()
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    flush = logs.set_up("json", stream, batched=True)
    logs.take_access_lines([b'"status":"ok"'])
    structlog.get_logger("x").error("bug", kind="X")
    flush()
    first, second = (json.loads(line) for line in raw.getvalue().splitlines())
    assert first.pop("timestamp") <= second.pop("timestamp")
    assert first == {"level": "info", "status": "ok", "event": "request.done"}
    assert second == {"level": "error", "event": "bug", "kind": "X"}
    logs.set_up("json")
    structlog.configure(**before)
