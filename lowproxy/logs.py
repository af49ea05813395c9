"""structlog, set up once. One line per request, facts as keys; no prompt, answer or key is ever one."""

import logging
import sys
from typing import TextIO

import orjson
import structlog


def set_up(form: str, stream: TextIO | None = None) -> None:
    """`form` is json, console, or auto: console where a person is watching."""
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    # aiohttp logs the offending line of a request head that does not parse, credentials included.
    for name in ("aiohttp.server", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if console:
        renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
            colors=out.isatty()
        )
        factory: object = structlog.PrintLoggerFactory(out)
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_dumps)
        factory = structlog.PrintLoggerFactory(out)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=factory,  # type: ignore[arg-type]  # structlog's own type is wider than it says
        cache_logger_on_first_use=True,
    )


def _dumps(value: object, **_: object) -> str:
    return orjson.dumps(value, default=str).decode()
