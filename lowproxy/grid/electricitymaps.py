"""Electricity Maps, API v4: the latest flow-traced intensity of a zone.

https://app.electricitymaps.com/developer-hub/api. Its data may not be redistributed: they
are kept in memory only.
"""

from collections.abc import Mapping
from typing import Any

from lowproxy.config import FeedConfig
from lowproxy.core.grid_reading import (
    GridReading,
    RejectedReadingError,
    garbage,
    moment,
    number,
    parsed,
    rows,
    table,
)
from lowproxy.grid.source import Question

# Where an answer is a list, as some versions of the API send it.
_LISTS = ("data", "history", "forecast")


class ElectricityMaps:
    """One question per zone."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config

    def questions(self, now: float) -> list[Question]:
        """The latest hour of each zone."""
        config = self._config
        token = config.token.reveal() if config.token else ""
        return [
            Question(
                f"{config.url}/v4/carbon-intensity/latest",
                zone,
                {
                    "zone": name,
                    "emissionFactorType": config.factor,
                    # Else an unknown zone is answered with the one we call from.
                    "disableCallerLookup": "true",
                },
                {"auth-token": token},
            )
            for zone, name in config.zones.items()
        ]

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """Reads the flat object, or the newest row of a list."""
        answer = table(parsed(body))
        assert question.zone is not None, "each question is about one zone"
        if answer.get("status") == "error":
            raise RejectedReadingError("no_data")
        newest = _newest(answer)
        zone = newest.get("zone", answer.get("zone"))
        if zone != self._config.zones[question.zone]:
            raise RejectedReadingError("wrong_zone")
        factor = newest.get("emissionFactorType", answer.get("emissionFactorType"))
        if factor not in (None, self._config.factor):
            raise RejectedReadingError("wrong_factor")
        estimated = newest.get("isEstimated")
        return [
            GridReading(
                question.zone,
                number(newest.get("carbonIntensity")),
                moment(newest.get("datetime")),
                estimated if isinstance(estimated, bool) else None,
            )
        ]


def _newest(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "carbonIntensity" in answer:
        return answer
    for name in _LISTS:
        if name in answer:
            return max(rows(answer[name]), key=lambda row: moment(row.get("datetime")))
    garbage()
