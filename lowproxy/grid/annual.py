"""A year's average carbon intensity by grid zone: the table that is always there.

Countries come from Our World in Data (Ember), parts of countries from these and the EPA's
eGRID; the data files name their sources. All figures are life cycle averages.
"""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Self

import attrs
import orjson

from lowproxy.core.eco import CarbonIntensity

WORLD = "WOR"
# Nine in ten countries of the table lie between these.
WORLD_LOW, WORLD_HIGH = 28.1, 805.3


@attrs.frozen
class Region:
    """A name that stands for a place: its grid zones and their weights."""

    members: Mapping[str, float]
    assumed: bool = False  # the one member is a guess at where in the region it is


@attrs.frozen
class AnnualGrid:
    """Grams per kWh by zone; regions as zones or as blends of zones."""

    zones: Mapping[str, CarbonIntensity]
    regions: Mapping[str, Region]
    clouds: Mapping[str, str]  # `aws/eu-west-3`, and `eu-west-3` where unambiguous
    alpha_3: Mapping[str, str] = attrs.field(factory=dict)  # countries: `FRA` is `FR`

    @classmethod
    def load(cls) -> Self:
        """From the data files of the package."""
        data = files("lowproxy") / "data"
        tables = [
            orjson.loads((data / name).read_bytes())
            for name in ("grid_annual.json", "grid_zones.json")
        ]
        return cls.build(tables, orjson.loads((data / "regions.json").read_bytes()))

    @classmethod
    def build(
        cls, tables: Iterable[Mapping[str, Any]], regions: Mapping[str, Any]
    ) -> Self:
        """From parsed tables, countries before their parts."""
        zones: dict[str, CarbonIntensity] = {}
        alpha_3: dict[str, str] = {}
        for table in tables:
            for zone, row in table["zones"].items():
                if "iso3" in row:
                    alpha_3[row["iso3"]] = zone
                if zone in zones:  # a later table knows a country's bounds
                    zones[zone] = attrs.evolve(zones[zone], **row)
                else:
                    zones[zone] = _reading(zone, row, table, zones)
        named = {
            name: Region(row["members"], row.get("assumed", False))
            for name, row in regions["regions"].items()
        }
        return cls(zones, named, _cloud_names(regions["clouds"]), alpha_3)

    def zone_of(self, region: str) -> str | None:
        """The one grid zone of a region or cloud region; None for a blend, unknown."""
        known = self.regions.get(region)
        if known is None:
            return self.clouds.get(region)
        only = len(known.members) == 1 and not known.assumed
        return next(iter(known.members)) if only else None

    def intensity(self, zone: str | None, region: str) -> CarbonIntensity:
        """The reading for a zone; without one the region's, blended where it must be.

        An unknown zone is its country's, an unknown region the world's. Never raises.
        """
        zone = zone or self.zone_of(region)
        if zone is not None:
            return self._zone(zone)
        known = self.regions.get(region)
        return self._world() if known is None else self._blend(region, known)

    def _zone(self, zone: str) -> CarbonIntensity:
        while zone not in self.zones:
            zone, _, rest = zone.rpartition("-")
            if not rest or not zone:
                return self._world()
        return self._world() if zone == WORLD else self.zones[zone]

    def _world(self) -> CarbonIntensity:
        world = self.zones[WORLD]
        return attrs.evolve(world, low=WORLD_LOW, high=WORLD_HIGH, blended=True)

    def _blend(self, name: str, region: Region) -> CarbonIntensity:
        readings = [(self._zone(zone), w) for zone, w in region.members.items()]
        if len(readings) == 1:
            return attrs.evolve(readings[0][0], blended=True)
        weight = sum(w for _, w in readings)
        return attrs.evolve(
            readings[0][0],
            zone=name,
            grams_per_kwh=sum(r.grams_per_kwh * w for r, w in readings) / weight,
            low=min(r.low for r, _ in readings),
            high=max(r.high for r, _ in readings),
            at=min(r.at for r, _ in readings),
            source="+".join(sorted({r.source for r, _ in readings})),
            blended=True,
            water_l_per_kwh=_mean_water(readings),
        )


def _mean_water(readings: list[tuple[CarbonIntensity, float]]) -> float | None:
    """Weighted litres per kWh; None where one member's are unknown."""
    total = weights = 0.0
    for reading, weight in readings:
        if reading.water_l_per_kwh is None:
            return None
        total += reading.water_l_per_kwh * weight
        weights += weight
    return total / weights


def _reading(
    zone: str,
    row: Mapping[str, Any],
    table: Mapping[str, Any],
    known: Mapping[str, CarbonIntensity],
) -> CarbonIntensity:
    """One row; a part of a country without a water figure has its country's."""
    country = known.get(zone.split("-")[0])
    water = row.get("water_l", country.water_l_per_kwh if country else None)
    return CarbonIntensity(
        zone=zone,
        grams_per_kwh=row["g"],
        low=row.get("low", row["g"]),
        high=row.get("high", row["g"]),
        source=row.get("label", table["label"]),
        at=row.get("at", table["at"]),
        factor=table["factor"],
        water_l_per_kwh=water,
        estimated=table.get("estimated"),
    )


def _cloud_names(clouds: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Zones by `cloud/region` and by bare region where clouds do not disagree."""
    names = {f"{c}/{r}": zone for c, rows in clouds.items() for r, zone in rows.items()}
    bare: dict[str, set[str]] = {}
    for rows in clouds.values():
        for region, zone in rows.items():
            bare.setdefault(region, set()).add(zone)
    return names | {r: zones.pop() for r, zones in bare.items() if len(zones) == 1}
