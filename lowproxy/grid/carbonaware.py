"""A Carbon Aware SDK of the operator's own (Green Software Foundation): `/emissions/bylocation`.

https://github.com/Green-Software-Foundation/carbon-aware-sdk. What it tells is what its own
data source tells: where that is WattTime, which is marginal and direct, the row has to say so.
"""

from lowproxy.config import FeedConfig
from lowproxy.core.grid_reading import (
    GridReading,
    RejectedReadingError,
    iso,
    moment,
    number,
    parsed,
    rows,
)
from lowproxy.grid.source import Question

# Sources of the SDK publish by the hour, some of them late.
_WINDOW_S = 2 * 3600


class CarbonAware:
    """One question per zone; its name there is a location, such as `westeurope`."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config

    def questions(self, now: float) -> list[Question]:
        """The last hours of each location."""
        config = self._config
        bearer = {}
        if config.token:
            bearer["Authorization"] = f"Bearer {config.token.reveal()}"
        window = {"time": iso(now - _WINDOW_S), "toTime": iso(now)}
        return [
            Question(
                f"{config.url}/emissions/bylocation",
                zone,
                {"location": name, **window},
                bearer,
            )
            for zone, name in config.zones.items()
        ]

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """Reads the newest row; ratings are grams per kWh."""
        assert question.zone is not None, "each question is about one location"
        name = self._config.zones[question.zone]
        newest = max(rows(parsed(body)), key=lambda row: moment(row.get("time")))
        if newest.get("location") != name:
            raise RejectedReadingError("wrong_zone")
        grams = number(newest.get("rating"))
        return [GridReading(question.zone, grams, moment(newest["time"]))]
