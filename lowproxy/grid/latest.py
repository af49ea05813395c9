"""The newest readings over the annual table: which of them counts for a place, and for what."""

from collections.abc import Mapping

import attrs

from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.grid_reading import MARGINAL, marginal_key
from lowproxy.grid.annual import AnnualGrid


@attrs.frozen
class LatestGrid:
    """Readings of one moment; swapped whole, never edited. Asking it costs dictionary look-ups.

    Accounting takes the newest reading there is. Ranking takes life cycle factors only:
    the annual table is one, and a direct figure beside it would win by its definition. A marginal reading is
    for ranking alone, and never beside averages.
    """

    annual: AnnualGrid
    live: Mapping[str, CarbonIntensity] = attrs.field(factory=dict)

    def intensity(self, zone: str | None, region: str) -> CarbonIntensity:
        """For accounting: the zone's live reading, else its annual one. Never raises."""
        annual = self.annual.intensity(zone, region)
        if not self.live:
            return annual
        found = self.live.get(zone) if zone is not None else None
        if found is None and not annual.blended:
            # A part of a country that is counted as its country, a region in one zone.
            found = self.live.get(annual.zone)
        if found is None:
            return annual
        # No source tells water; the year's figure is the best that is known.
        return attrs.evolve(found, water_l_per_kwh=annual.water_l_per_kwh)

    def comparable(self, zone: str | None, region: str) -> CarbonIntensity:
        """For ranking: the same reading, or the annual one where the live one is direct."""
        found = self.intensity(zone, region)
        if found.factor == "lifecycle":
            return found
        return self.annual.intensity(zone, region)

    @property
    def has_marginal(self) -> bool:
        """Whether any marginal reading is in use."""
        return any(each.kind == MARGINAL for each in self.live.values())

    def marginal(self, zone: str | None, region: str) -> CarbonIntensity | None:
        """For ranking, where the operator wants it: the zone's marginal reading; None where there is none."""
        annual = self.annual.intensity(zone, region)
        names = (zone, None if annual.blended else annual.zone)
        found = (self.live.get(marginal_key(name)) for name in names if name)
        return next((each for each in found if each is not None), None)
