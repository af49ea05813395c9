"""The United States: hourly generation by fuel from the EIA's API v2, times life cycle factors.

https://www.eia.gov/opendata/browser/electricity/rto/fuel-type-data. Data of the US
government, in the public domain; the key is free.
"""

from lowproxy.config import FeedConfig
from lowproxy.core.grid_mix import OTHER, fullest, lifecycle
from lowproxy.core.grid_reading import (
    GridReading,
    RejectedReadingError,
    moment,
    number,
    parsed,
    rows,
    table,
)
from lowproxy.grid.source import Question

_PATH = "/v2/electricity/rto/fuel-type-data/data/"
# Batteries and pumped storage (BAT, PS, ...) give back what was made before.
_FUELS = {
    "COL": "coal",
    "GEO": "geothermal",
    "NG": "gas",
    "NUC": "nuclear",
    "OIL": "oil",
    "SUN": "solar",
    "WAT": "hydro",
    "WND": "wind",
    "OTH": OTHER,
    "UNK": OTHER,
}
# Some hours of a dozen fuels: the newest of them may not be complete.
_ROWS = 60


class Eia:
    """One question per balancing authority."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config

    def questions(self, now: float) -> list[Question]:
        """The newest rows of each."""
        config = self._config
        return [
            Question(
                config.url + _PATH,
                zone,
                {
                    "api_key": config.token.reveal() if config.token else "",
                    "frequency": "hourly",  # in UTC
                    "data[0]": "value",
                    "facets[respondent][]": name,
                    "sort[0][column]": "period",
                    "sort[0][direction]": "desc",
                    "length": str(_ROWS),
                },
            )
            for zone, name in config.zones.items()
        ]

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """Reads the newest hour that most fuels have reported; values may be strings."""
        assert question.zone is not None, "each question is about one authority"
        mixes: dict[float, dict[str, float]] = {}
        for row in rows(table(table(parsed(body)).get("response")).get("data")):
            if row.get("respondent") != self._config.zones[question.zone]:
                raise RejectedReadingError("wrong_zone")
            fuel = _FUELS.get(str(row.get("fueltype")))
            if fuel is not None and row.get("value") is not None:
                mix = mixes.setdefault(moment(row.get("period")), {})
                mix[fuel] = mix.get(fuel, 0.0) + number(row["value"])
        begin = fullest(mixes)
        grams = lifecycle(mixes[begin])
        return [GridReading(question.zone, grams, begin, estimated=True)]
