"""The kinds of live grid sources: what each needs to be told, and what it calls zones.

The adapters are in `lowproxy.grid`; this is what the configuration checks rows against.
"""

from collections.abc import Callable, Mapping

import attrs

# EIC codes of bidding zones, from ENTSO-E's list of area codes:
# https://www.entsoe.eu/data/energy-identification-codes-eic/. The last character checks.
_EIC = {
    "AT": "10YAT-APG------L",
    "BE": "10YBE----------2",
    "CH": "10YCH-SWISSGRIDZ",
    "CZ": "10YCZ-CEPS-----N",
    "DE": "10Y1001A1001A82H",  # with Luxembourg
    "DK-DK1": "10YDK-1--------W",
    "DK-DK2": "10YDK-2--------M",
    "ES": "10YES-REE------0",
    "FI": "10YFI-1--------U",
    "FR": "10YFR-RTE------C",
    "IE": "10Y1001A1001A59C",  # the whole island
    "NL": "10YNL----------L",
    "NO-NO1": "10YNO-1--------2",
    "PL": "10YPL-AREA-----S",
    "PT": "10YPT-REN------W",
    "SE-SE1": "10Y1001A1001A44P",
    "SE-SE2": "10Y1001A1001A45N",
    "SE-SE3": "10Y1001A1001A46L",
    "SE-SE4": "10Y1001A1001A47J",
}


@attrs.frozen
class GridKind:
    """What a row of `[[grid.sources]]` may and must say."""

    label: str  # the `source` of its readings
    url: str | None = None  # None: the operator's own
    token: bool = False  # it answers nobody without
    only: str | None = None  # the one zone that it knows
    open_ended: bool = False  # without zones, whatever it holds
    name_of: Callable[[str], str | None] = str  # a zone as it calls it; None: unknown
    direct: bool = True  # it has, or may hold, direct factors
    marginal: bool = False  # it may hold marginal figures: the operator says
    refresh_s: float = 600.0
    max_age_s: float = 7200.0


def _respondent(zone: str) -> str | None:
    """Balancing authorities end the names of American zones: `US-MIDA-PJM`."""
    if zone == "US":
        return "US48"
    country, _, rest = zone.partition("-")
    return rest.rpartition("-")[2] or None if country == "US" else None


KINDS: Mapping[str, GridKind] = {
    "electricitymaps": GridKind(
        "electricitymaps", "https://api.electricitymaps.com", token=True
    ),
    "uk": GridKind("uk-neso", "https://api.carbonintensity.org.uk", only="GB"),
    "odre": GridKind("rte-eco2mix", "https://odre.opendatasoft.com", only="FR"),
    # Both publish an hour of generation one to three hours after it.
    "eia": GridKind(
        "eia-ipcc",
        "https://api.eia.gov",
        token=True,
        name_of=_respondent,
        direct=False,
        max_age_s=14400.0,
    ),
    "entsoe": GridKind(
        "entsoe-ipcc",
        "https://web-api.tp.entsoe.eu",
        token=True,
        name_of=_EIC.get,
        direct=False,
        max_age_s=14400.0,
    ),
    # Its locations are cloud regions; a zone has none by nature.
    "carbonaware": GridKind(
        "carbon-aware-sdk", name_of=lambda zone: None, marginal=True
    ),
    # A look at a small file costs nothing.
    "file": GridKind("operator-file", open_ended=True, marginal=True, refresh_s=10.0),
    "http": GridKind("operator-http", open_ended=True, marginal=True),
}
