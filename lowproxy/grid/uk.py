"""Great Britain: the Carbon Intensity API of the system operator (CC BY 4.0).

https://carbon-intensity.github.io/api-definitions/. Its own figure leaves out building and
fuelling the plants, so it is `direct`; a life cycle figure is worked out from its mix.
"""

from lowproxy.config import FeedConfig
from lowproxy.core.grid_mix import LIFECYCLE_G_PER_KWH, OTHER, lifecycle
from lowproxy.core.grid_reading import (
    GridReading,
    moment,
    number,
    parsed,
    rows,
    table,
)
from lowproxy.grid.source import Question

# Neither is generated in the zone at that moment.
_NOT_MADE = ("imports", "storage")


class Uk:
    """One question: the half-hour that is running."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config

    def questions(self, now: float) -> list[Question]:
        """The mix, or the operator's own figure."""
        path = "/intensity" if self._config.factor == "direct" else "/generation"
        return [Question(self._config.url + path, "GB")]

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """Reads either; of its own figures the actual one, else the forecast."""
        data = table(parsed(body)).get("data")
        row = rows(data)[0] if isinstance(data, list) else table(data)
        begin = moment(row.get("from"))
        if self._config.factor == "direct":
            intensity = table(row.get("intensity"))
            actual = intensity.get("actual")  # null while the half-hour runs
            grams = number(intensity.get("forecast") if actual is None else actual)
            return [GridReading("GB", grams, begin, estimated=actual is None)]
        shares: dict[str, float] = {}
        for share in rows(row.get("generationmix")):
            fuel = str(share.get("fuel"))
            if fuel not in _NOT_MADE:
                fuel = fuel if fuel in LIFECYCLE_G_PER_KWH else OTHER
                shares[fuel] = shares.get(fuel, 0.0) + number(share.get("perc"))
        return [GridReading("GB", lifecycle(shares), begin, estimated=True)]
