"""Server-sent events as the standard reads them (WHATWG HTML, section 9.2.6): what a caller would see.

Written apart from the code under test, over the whole stream at once.
"""

import json
import re
from typing import Any

import attrs


@attrs.frozen
class Event:
    """One dispatched event."""

    data: str
    type: str = "message"
    id: str = ""


def read_events(stream: bytes) -> list[Event]:
    """The events of a complete stream; what is not ended by a blank line is not one."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _unfinished = re.split(r"\r\n|\n|\r", text)
    events: list[Event] = []
    data: list[str] = []
    kind, last_id = "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append(Event("\n".join(data), kind or "message", last_id))
            data, kind = [], ""
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last_id = value
    return events


def read_chunks(stream: bytes) -> list[Any]:
    """The data of each event: parsed where it is JSON, else its text (`[DONE]`)."""
    return [_value(event.data) for event in read_events(stream)]


def comments(stream: bytes) -> list[bytes]:
    """The comment lines, in order."""
    return [line for line in re.split(rb"\r\n|\n|\r", stream) if line[:1] == b":"]


def _value(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data
