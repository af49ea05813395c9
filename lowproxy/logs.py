"""structlog, set up once. One line per request, facts as keys; no prompt, answer or key is ever one."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import orjson
import structlog


def set_up(form: str, stream: TextIO | None = None) -> None:
    """`form` is json, console, or auto: console where a person is watching."""
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    # aiohttp logs the offending line of a request head that does not parse, credentials included.
    for name in ("aiohttp.server", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    processors: list[structlog.typing.Processor]
    if console:
        processors = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=out.isatty()),
        ]
        factory: Callable[..., Any] = structlog.PrintLoggerFactory(out)
    else:
        processors = [_json_line]
        factory = structlog.BytesLoggerFactory(out.buffer)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def _json_line(logger: object, method: str, facts: structlog.typing.EventDict) -> bytes:
    """Level, time and serialisation in one step: an access line is on the way of every request."""
    line = {"timestamp": _clock.iso(time.time()), "level": method, **facts}
    return orjson.dumps(line, default=str)


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
