"""The last good reading of every source and zone, and which of them are in use at a moment."""

from collections.abc import Mapping

from lowproxy.config import FeedConfig
from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.grid_reading import MARGINAL, GridReading, iso, marginal_key


class Board:
    """Readings by source, in the order of the configuration; time is an argument."""

    def __init__(self, configs: tuple[FeedConfig, ...]) -> None:
        self._configs = configs
        self._readings: list[dict[str, GridReading]] = [{} for _ in configs]

    def put(self, place: int, reading: GridReading) -> None:
        """Keeps a reading of the `place`th source, unless it has a newer one already."""
        held = self._readings[place].get(reading.zone)
        if held is None or reading.at >= held.at:
            self._readings[place][reading.zone] = reading

    def current(self, now: float) -> Mapping[str, CarbonIntensity]:
        """What is fresh, by zone: of the first source that has it. Marginal ones by `marginal_key`."""
        fresh: dict[str, CarbonIntensity] = {}
        for config, readings in zip(self._configs, self._readings, strict=True):
            for zone, reading in readings.items():
                key = marginal_key(zone) if config.signal == MARGINAL else zone
                if key not in fresh and now - reading.at <= config.max_age_s:
                    fresh[key] = _intensity(config, reading)
        return fresh

    def held(self, now: float) -> list[tuple[str, str, float | None, float]]:
        """Zone, source, grams per kWh (None: too old to be used), age in seconds; of all."""
        found: dict[tuple[str, str], tuple[float | None, float]] = {}
        for config, readings in zip(self._configs, self._readings, strict=True):
            for zone, reading in readings.items():
                age_s = now - reading.at
                grams = reading.grams_per_kwh if age_s <= config.max_age_s else None
                found.setdefault((zone, config.label), (grams, age_s))
        return [(*names, *values) for names, values in found.items()]

    def next_expiry(self, now: float) -> float | None:
        """When the first of what is fresh will be too old; None: nothing is fresh."""
        expiries = [
            reading.at + config.max_age_s
            for config, readings in zip(self._configs, self._readings, strict=True)
            for reading in readings.values()
        ]
        return min((at for at in expiries if at >= now), default=None)


def _intensity(config: FeedConfig, reading: GridReading) -> CarbonIntensity:
    return CarbonIntensity(
        zone=reading.zone,
        grams_per_kwh=reading.grams_per_kwh,
        low=reading.grams_per_kwh,
        high=reading.grams_per_kwh,
        source=config.label,
        at=iso(reading.at),
        kind=config.signal,
        factor=config.factor,
        live=True,
        estimated=reading.estimated,
    )
