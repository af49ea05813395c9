"""One reading of a grid, as a live source gave it, and what it must be to be believed."""

import datetime
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import attrs

from lowproxy.core.parsing import loads

# Cleaner than any grid is not possible, dirtier than the oldest lignite is not either.
MAX_G_PER_KWH = 2000.0
# Clocks differ, and some sources stamp the hour that has just begun by its end.
MAX_AHEAD_S = 3600.0


# Signals of a source; the other is "average", which is the only one that weighs answers.
MARGINAL = "marginal"


def marginal_key(zone: str) -> str:
    """Where a zone's marginal reading is kept beside averages: no zone is spelled so, hence none finds it."""
    return f"{zone}:marginal"


class RejectedReadingError(Exception):
    """A source's answer cannot be used; `reason` is one of few words, for a metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.frozen
class GridReading:
    """Grams of CO2 equivalent per kWh of a zone, and the moment they are of."""

    zone: str
    grams_per_kwh: float
    at: float  # seconds since the epoch
    estimated: bool | None = None  # the source modelled it; None: it does not say


def believable(reading: GridReading, now: float, max_age_s: float) -> None:
    """Raises RejectedReadingError where a reading cannot be true, or is too old."""
    if not 0 < reading.grams_per_kwh < MAX_G_PER_KWH:  # so is NaN
        raise RejectedReadingError("out_of_range")
    if not reading.at <= now + MAX_AHEAD_S:
        raise RejectedReadingError("future")
    if now - reading.at > max_age_s:
        raise RejectedReadingError("stale")


def parsed(body: bytes) -> Any:
    """The value of a JSON body."""
    try:
        return loads(body)
    except ValueError:
        raise RejectedReadingError("garbage") from None


def table(value: object) -> Mapping[str, Any]:
    """A JSON object."""
    return value if isinstance(value, Mapping) else garbage()


def rows(value: object) -> list[Mapping[str, Any]]:
    """A list of JSON objects that holds one or more."""
    if not isinstance(value, list):
        garbage()
    if not value:
        raise RejectedReadingError("no_data")
    return [table(each) for each in value]


def number(value: object) -> float:
    """A finite number; sources that spell numbers as strings are read too."""
    if value is None:
        raise RejectedReadingError("no_data")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        garbage()
    try:
        found = float(value)
    except (ValueError, OverflowError):
        garbage()
    return found if math.isfinite(found) else garbage()


def moment(value: object) -> float:
    """Seconds since the epoch of an ISO 8601 time; without an offset it is in UTC."""
    if not isinstance(value, str):
        garbage()
    try:
        found = datetime.datetime.fromisoformat(value)
        if found.tzinfo is None:
            found = found.replace(tzinfo=datetime.UTC)
        return found.timestamp()
    except (ValueError, OverflowError):
        garbage()


@lru_cache(256)
def _moment_once(at: str) -> float:
    return moment(at)


def grid_age_s(at: str, now: float) -> int:
    """Whole seconds from a reading's moment, as the eco block spells it, to `now` (since the epoch)."""
    return max(0, round(now - _moment_once(at)))


def iso(at: float) -> str:
    """A moment as the eco block spells it, to the second, in UTC."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


def garbage() -> NoReturn:
    """The answer has not the shape that it should have."""
    raise RejectedReadingError("garbage")
