"""`lowproxy chat "..."`: ask a running gateway something, and see what the answer cost.

It is an ordinary caller over HTTP and knows no more than any other: the text comes from
the stream's chunks, the last line from their `lowrouter` object.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import attrs
import orjson

from lowproxy.core.sse import Cutter, payload

EXIT_UNAVAILABLE = 69  # sysexits.h: nobody answers there
CONNECT_S = 5.0

# An answer may hold anything: what a terminal would take for a command is left out.
_CONTROL = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("prompt", nargs="+", help="what to ask")
    parser.add_argument(
        "--model", default="lowrouter/auto", help="default: %(default)s"
    )
    parser.add_argument("--region", help="pin the region, such as eu-west")
    parser.add_argument(
        "--url",
        type=_url,
        default="http://127.0.0.1:8080/api/v1",
        help="the gateway's base URL; default: %(default)s",
    )
    parser.add_argument(
        "--key",
        metavar="KEY",
        help="default: $LOWROUTER_API_KEY, which hides it better",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the answer as it comes, then the eco line; returns the exit code."""
    key = args.key or os.environ.get("LOWROUTER_API_KEY")
    try:
        return asyncio.run(_chat(args.url, key, request_body(args)))
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        _complain(
            f"nothing answers at {args.url}: start the gateway with"
            " `lowproxy serve`, or say where it is with --url"
        )
        return EXIT_UNAVAILABLE
    except aiohttp.ClientError as exc:
        _complain(f"the connection to the gateway failed: {type(exc).__name__}")
        return 1


def request_body(args: argparse.Namespace) -> dict[str, Any]:
    """The chat request that the arguments mean."""
    body: dict[str, Any] = {
        "model": args.model,
        "messages": [{"role": "user", "content": " ".join(args.prompt)}],
        "stream": True,
    }
    if args.region:
        body["route"] = {"region": args.region}
    return body


@attrs.define
class Reading:
    """What a stream has said so far."""

    lowrouter: Mapping[str, Any] | None = None
    error: str | None = None
    done: bool = False

    def event(self, event: bytes) -> str:
        """Takes in one event; returns the text that it adds to the answer."""
        data = payload(event)
        if data is None:
            return ""
        if data.strip() == b"[DONE]":
            self.done = True
            return ""
        obj = _parse(data)
        if isinstance(obj.get("lowrouter"), Mapping):
            self.lowrouter = obj["lowrouter"]
        if "error" in obj:
            self.error = error_message(obj) or "the stream failed"
        return _text(obj)


def eco_line(lowrouter: Mapping[str, Any]) -> str:
    """Who answered, where, and at what cost to the climate, in one line."""
    parts = [str(lowrouter.get("provider", "unknown provider"))]
    parts.append(str(lowrouter.get("region", "unknown region")))
    eco = lowrouter.get("eco")
    if isinstance(eco, Mapping):
        figures = {"energy_wh": "Wh", "carbon_g": "g CO2e"}
        parts += [f"{eco[k]:.3g} {unit}" for k, unit in figures.items() if k in eco]
        parts.append(f"accuracy {eco.get('accuracy', 'not given')}")
    else:
        parts.append("energy and carbon unknown")
    return f"[{', '.join(parts)}]"


def error_message(obj: Mapping[str, Any]) -> str | None:
    """The message of an OpenAI-shaped error object, if it is one."""
    error = obj.get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    return message if isinstance(message, str) else None


async def _chat(url: str, key: str | None, body: Mapping[str, Any]) -> int:
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    # A model may think for as long as it likes; whoever waits can press Ctrl-C.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(
            f"{url}/chat/completions",
            data=orjson.dumps(body),
            headers=headers,
            allow_redirects=False,
        ) as answer,
    ):
        if answer.status != 200 or answer.content_type != "text/event-stream":
            _complain(await _refusal(answer, key))
            return 1
        return await _print_stream(answer)


async def _print_stream(answer: aiohttp.ClientResponse) -> int:
    cutter, reading = Cutter(), Reading()
    async for data in answer.content.iter_any():
        for event in cutter.feed(data):
            sys.stdout.write(_printable(reading.event(event)))
        sys.stdout.flush()
    reading.event(cutter.rest())
    print(flush=True)
    if reading.lowrouter is not None:
        _print_dim(_printable(eco_line(reading.lowrouter)))
    if reading.error is not None or not reading.done:
        _complain(reading.error or "the answer ended before its end")
        return 1
    return 0


async def _refusal(answer: aiohttp.ClientResponse, key: str | None) -> str:
    message = error_message(_parse(await answer.read()))
    if message is None:
        return f"HTTP {answer.status} without a message: is this LowRouter's base URL?"
    if answer.status == 401 and not key:
        return f"{message} (set LOWROUTER_API_KEY, or give --key)"
    return message


def _parse(data: bytes) -> Mapping[str, Any]:
    """The JSON object in `data`; an empty one where there is none."""
    try:
        obj = orjson.loads(data)
    except ValueError:
        return {}
    return obj if isinstance(obj, dict) else {}


def _text(chunk: Mapping[str, Any]) -> str:
    match chunk.get("choices"):
        case [{"delta": {"content": str(text)}}, *_]:
            return text
        case [{"delta": {"refusal": str(text)}}, *_]:
            return text
    return ""


def _printable(text: str) -> str:
    """The text as this standard output can show it."""
    encoding = sys.stdout.encoding or "utf-8"
    if sys.stdout.isatty():
        text = text.translate(_CONTROL)
    return text.encode(encoding, "replace").decode(encoding)


def _print_dim(line: str) -> None:
    """Prints the line, dimmed where that can be seen and `rich` is installed."""
    if sys.stdout.isatty():
        try:
            from rich.console import Console
        except ImportError:
            pass
        else:
            Console().print(line, style="dim", markup=False, highlight=False)
            return
    print(line)


def _complain(message: str) -> None:
    print(f"lowproxy chat: {message}", file=sys.stderr)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a base URL such as http://127.0.0.1:8080/api/v1"
        )
    return text.rstrip("/")
