"""structlog, set up once. One line per request, facts as keys; no prompt, answer or key is ever one."""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO, TextIO

import orjson
import structlog


def set_up(
    form: str, stream: TextIO | None = None, *, batched: bool = False
) -> Callable[[], None]:
    """`form` is json, console, or auto: console where a person is watching.

    With `batched` JSON lines wait for each other, see `Lines`; call what this returns at the end.
    """
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    # aiohttp logs the offending line of a request head that does not parse, credentials included.
    for name in ("aiohttp.server", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    processors: list[structlog.typing.Processor]
    flush: Callable[[], None] = _nothing
    _batched.clear()
    if console:
        processors = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=out.isatty()),
        ]
        factory: Callable[..., Any] = structlog.PrintLoggerFactory(out)
    else:
        processors = [_json_line]
        if batched:
            lines = Lines(out.buffer)
            flush = lines.flush
            _batched.append(lines)
            factory = partial(_same, lines)
        else:
            factory = structlog.BytesLoggerFactory(out.buffer)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    return flush


def batches() -> bool:
    """Whether JSON lines wait for each other."""
    return bool(_batched)


def take_access_lines(lines: Sequence[bytes]) -> None:
    """Access lines of one moment, where lines wait: each is JSON without its braces, and needs no serialiser."""
    first = f'{{"timestamp":"{_clock.iso(time.time())}","level":"info",'.encode()
    last = b',"event":"request.done"}'
    _batched[0].extend([first + line + last for line in lines])


_batched: list["Lines"] = []  # where `set_up` has lines wait


def _same(logger: "Lines", *_: object) -> "Lines":
    return logger


def _nothing() -> None:
    """Nothing waits."""


def _json_line(logger: object, method: str, facts: structlog.typing.EventDict) -> bytes:
    """Level, time and serialisation in one step: an access line is on the way of every request."""
    line = {"timestamp": _clock.iso(time.time()), "level": method, **facts}
    return orjson.dumps(line, default=str)


class Lines:
    """Where JSON lines go: those of one tenth of a second in one write.

    A write for every request would cost it as much as choosing its route. What is worse than information
    is written at once. A process that is killed loses at most the last tenth.
    """

    FLUSH_S = 0.1
    MOST = 1000

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._waiting: list[bytes] = []

    def info(self, line: bytes) -> None:
        """Takes a line that can wait."""
        self.extend((line,))

    def extend(self, lines: Sequence[bytes]) -> None:
        """Takes lines that can wait."""
        is_first = not self._waiting
        self._waiting += lines
        if len(self._waiting) >= self.MOST:
            self.flush()
        elif is_first and lines:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.flush()
            else:
                loop.call_later(self.FLUSH_S, self.flush)

    def error(self, line: bytes) -> None:
        """Takes a line that cannot."""
        self._waiting.append(line)
        self.flush()

    warning = critical = msg = error

    def flush(self) -> None:
        """Writes what has been waiting."""
        lines, self._waiting = self._waiting, []
        if lines:
            # A full disk, or a reader that has gone: requests go on, and there is nowhere to say so.
            with contextlib.suppress(OSError, ValueError):
                self._out.write(b"\n".join([*lines, b""]))
                self._out.flush()


class _Clock:
    """Renders times; the second, which many lines share, only when it changes."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def iso(self, now: float) -> str:
        """UTC, ISO 8601, milliseconds. `now` is seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((now - second) * 1000):03d}Z"


_clock = _Clock()
