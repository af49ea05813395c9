"""Read JSON that somebody else wrote, as leniently as the standard allows, and write it again."""

import json
from typing import Any, Never

import orjson


def loads(data: bytes) -> Any:
    """The value of a JSON text; raises ValueError, whose message quotes nothing of the text.

    orjson refuses what RFC 8259 permits (lone surrogates, numbers beyond a double), so what it refuses is
    tried with the standard library before it is called malformed. NaN and Infinity are not JSON, and neither
    is UTF-16, which `json` would guess: the bytes are going to be searched and spliced as UTF-8.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        first = exc
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        place = f"at line {first.lineno} column {first.colno}"
        raise ValueError(place) from None


def dumps(value: object) -> bytes:
    """JSON of what `loads` gave, also where orjson does not write it: integers beyond 64 bits, lone surrogates."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _refuse(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
