"""France: eCO2mix of the operator RTE, through the open data portal ODRE.

https://odre.opendatasoft.com/explore/dataset/eco2mix-national-tr/. Its own figure counts
what French plants emit while they run, so it is `direct`; a life cycle figure is worked
out from its mix.
"""

from lowproxy.config import FeedConfig
from lowproxy.core.grid_mix import lifecycle
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

_PATH = "/api/explore/v2.1/catalog/datasets/eco2mix-national-tr/records"
_FUELS = {
    "fioul": "oil",
    "charbon": "coal",
    "gaz": "gas",
    "nucleaire": "nuclear",
    "eolien": "wind",
    "solaire": "solar",
    "hydraulique": "hydro",
    "bioenergies": "biomass",
}


class Odre:
    """One question: the newest quarter of an hour that is filled in."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config

    def questions(self, now: float) -> list[Question]:
        """The rows of hours to come are there already, and null."""
        direct = self._config.factor == "direct"
        wanted = ("taux_co2",) if direct else tuple(_FUELS)
        params = {
            "select": ",".join((*wanted, "date_heure")),
            "where": f"{'taux_co2' if direct else 'nucleaire'} is not null",
            "order_by": "date_heure desc",
            "limit": "1",
        }
        return [Question(self._config.url + _PATH, "FR", params)]

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """Reads the one row; a fuel without a figure makes the mix unusable."""
        row = rows(table(parsed(body)).get("results"))[0]
        begin = moment(row.get("date_heure"))
        if self._config.factor == "direct":
            return [GridReading("FR", number(row.get("taux_co2")), begin)]
        if any(row.get(name) is None for name in _FUELS):
            raise RejectedReadingError("no_data")
        mix = {fuel: number(row[name]) for name, fuel in _FUELS.items()}
        return [GridReading("FR", lifecycle(mix), begin, estimated=True)]
