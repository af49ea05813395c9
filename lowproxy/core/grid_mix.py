"""From what a grid is generated with to grams per kWh, by life cycle.

Intensity = sum(share * factor) / sum(share). The mix is what is produced in the zone:
imports and storage are left out on both sides.
"""

from collections.abc import Mapping

from lowproxy.core.grid_reading import RejectedReadingError

# Grams of CO2 equivalent per kWh, medians of life cycle assessments: IPCC AR5 WG3
# Annex III table A.III.2,
# https://www.ipcc.ch/site/assets/uploads/2018/02/ipcc_wg3_ar5_annex-iii.pdf.
LIFECYCLE_G_PER_KWH: Mapping[str, float] = {
    "biomass": 230.0,
    "coal": 820.0,
    "gas": 490.0,
    "geothermal": 38.0,
    "hydro": 24.0,
    "nuclear": 12.0,
    "solar": 48.0,  # utility scale
    "wind": 11.0,  # onshore; offshore is 12
    # Not in that table: IPCC SRREN 2011, Annex II table A.II.4,
    # https://www.ipcc.ch/site/assets/uploads/2018/03/SRREN_Full_Report-1.pdf.
    "oil": 840.0,
}
OTHER = "other"  # generated with something that has no factor here
# With more than a fifth of unknown origin the rest says too little.
MIN_KNOWN = 0.8


def lifecycle(amounts: Mapping[str, float]) -> float:
    """Grams per kWh of a mix: power, energy or shares by fuel, in any one unit.

    Negative amounts are a plant's own use and count as none. Raises
    RejectedReadingError where nothing is generated or too much of it is `other`.
    """
    made = {fuel: max(amount, 0.0) for fuel, amount in amounts.items()}
    known = sum(amount for fuel, amount in made.items() if fuel != OTHER)
    total = known + made.get(OTHER, 0.0)
    if not known > 0:
        raise RejectedReadingError("no_data")
    if known < MIN_KNOWN * total:
        raise RejectedReadingError("unknown_fuels")
    grams = sum(
        amount * LIFECYCLE_G_PER_KWH[fuel]
        for fuel, amount in made.items()
        if fuel != OTHER
    )
    return grams / known


def fullest(mixes: Mapping[float, Mapping[str, float]]) -> float:
    """The newest of the moments at which most fuels have reported."""
    if not mixes:
        raise RejectedReadingError("no_data")
    return max(mixes, key=lambda at: (len(mixes[at]), at))
