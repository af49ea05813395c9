"""A file of the operator's own: grams per kWh by zone. Also what their HTTP endpoint sends.

`{"FR": 38.5, "DE": {"g_per_kwh": 320, "at": "2026-11-22T10:00:00Z", "estimated": true}}`. A
zone that does not say when is of when the file was written.
"""

import re

from lowproxy.config import FeedConfig
from lowproxy.core.grid_reading import (
    GridReading,
    RejectedReadingError,
    garbage,
    moment,
    number,
    parsed,
    table,
)
from lowproxy.grid.source import Question

_ZONE = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]+)*")


class OperatorFile:
    """One look."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config

    def questions(self, now: float) -> list[Question]:
        """The whole file."""
        assert self._config.path is not None, "the configuration insists on one"
        return [Question(self._config.path)]

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """Reads all zones, or those that the configuration names."""
        return read_zones(self._config, body, at)


def read_zones(config: FeedConfig, body: bytes, at: float) -> list[GridReading]:
    """The zones that are wanted, each as a number or as an object."""
    held = table(parsed(body))
    wanted = config.zones or {name: name for name in held}
    if not wanted or not all(name in held for name in wanted.values()):
        raise RejectedReadingError("no_data")
    return [_reading(zone, held[name], at) for zone, name in wanted.items()]


def _reading(zone: str, value: object, at: float) -> GridReading:
    if not _ZONE.fullmatch(zone):
        raise RejectedReadingError("wrong_zone")
    if not isinstance(value, dict):
        return GridReading(zone, number(value), at)
    if not value.keys() <= {"g_per_kwh", "at", "estimated"}:
        garbage()
    estimated = value.get("estimated")
    return GridReading(
        zone,
        number(value.get("g_per_kwh")),
        moment(value["at"]) if "at" in value else at,
        estimated if isinstance(estimated, bool) else None,
    )
