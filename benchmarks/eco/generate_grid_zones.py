"""Make `lowproxy/data/grid_zones.json`: parts of countries, as life cycle intensity.

    python -m benchmarks.eco.generate_grid_zones

The countries' table is life cycle; what is published below the level of a country is
mostly direct emissions, and the two must not stand side by side. So a US zone gets its
country's life cycle figure times the ratio of its direct intensity to the country's, both
of the EPA's eGRID. Google's list of cloud regions is not used: since 2022 it is direct
(its README) and too coarse to convert. Quebec comes from its generation by source.
"""

import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "lowproxy" / "data"

# Total output emission rates, kg CO2e per MWh, direct. Public domain.
EGRID = "EPA eGRID2022, https://www.epa.gov/system/files/documents/2024-01/egrid2022_data.xlsx"
EGRID_US = 375.357
EGRID_KG = {
    "AZNM": 353.522,
    "CAMX": 226.469,
    "ERCT": 351.216,
    "FRCC": 370.536,
    "NEWE": 245.158,
    "NWPP": 274.819,
    "RFCE": 299.512,
    "RFCW": 456.270,
    "SPNO": 435.168,
    "SPSO": 442.367,
    "SRSO": 407.171,
    "SRTV": 425.753,
    "SRVC": 283.892,
    # The ends, for the country's own bounds.
    "NYUP": 124.914,
    "MROE": 675.258,
}

# Zones by the subregions that they lie in; of two the mean, with both as bounds.
ZONES = {
    "US-CAL-CISO": ["CAMX"],
    "US-CAR-CPLE": ["SRVC"],
    "US-CAR-DUK": ["SRVC"],
    "US-CAR-SCEG": ["SRVC"],
    "US-CENT-SWPP": ["SPNO", "SPSO"],
    "US-FLA-FPL": ["FRCC"],
    "US-MIDA-PJM": ["RFCE", "RFCW"],
    "US-NE-ISNE": ["NEWE"],
    "US-NW-BPAT": ["NWPP"],
    "US-NW-PACE": ["NWPP"],
    "US-NW-PACW": ["NWPP"],
    "US-SE-SOCO": ["SRSO"],
    "US-SW-AZPS": ["AZNM"],
    "US-TEN-TVA": ["SRTV"],
    "US-TEX-ERCO": ["ERCT"],
}

# Median life cycle intensity, g/kWh.
IPCC = "IPCC AR5 WG3 Annex III table A.III.2, https://www.ipcc.ch/site/assets/uploads/2018/02/ipcc_wg3_ar5_annex-iii.pdf"
HYDRO, WIND, BIOMASS = 24, 11, 230
CER = (
    "Canada Energy Regulator, https://www.cer-rec.gc.ca/en/data-analysis/"
    "energy-markets/provincial-territorial-energy-profiles/"
    "provincial-territorial-energy-profiles-quebec.html"
)
QUEBEC = {HYDRO: 0.94, WIND: 0.05, BIOMASS: 0.01}


def main() -> None:
    """Write the file."""
    countries = json.loads((DATA / "grid_annual.json").read_text())
    per_direct = countries["zones"]["US"]["g"] / EGRID_US
    rows = {zone: us_row(names, per_direct) for zone, names in sorted(ZONES.items())}
    ends = [round(EGRID_KG[name] * per_direct, 1) for name in ("NYUP", "MROE")]
    quebec = round(sum(grams * share for grams, share in QUEBEC.items()), 1)
    rows["CA-QC"] = {"g": quebec, "label": "cer-ipcc", "at": "2022"}
    rows["US"] = {"low": ends[0], "high": ends[1]}
    lines = ",\n".join(
        f"  {json.dumps(zone)}: {json.dumps(row, separators=(',', ':'))}"
        for zone, row in sorted(rows.items())
    )
    head = {
        "license": "CC-BY-4.0",
        "source": f"Our World in Data, from Ember (CC BY 4.0), times {EGRID}",
        "quebec_source": f"Shares: {CER}; factors: {IPCC}",
        "generated_by": "benchmarks/eco/generate_grid_zones.py",
        "label": "owid-ember+egrid2022",
        "at": countries["at"],
        "factor": "lifecycle",
        "estimated": True,
    }
    head_lines = ",\n".join(
        f" {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()
    )
    path = DATA / "grid_zones.json"
    path.write_text("{\n" + head_lines + ',\n "zones": {\n' + lines + "\n }\n}\n")


def us_row(names: list[str], per_direct: float) -> dict[str, object]:
    """A zone's mean over its subregions, and these as bounds where there are two."""
    grams = [EGRID_KG[name] * per_direct for name in names]
    row: dict[str, object] = {"g": round(sum(grams) / len(grams), 1)}
    if len(names) > 1:
        row |= {"low": round(min(grams), 1), "high": round(max(grams), 1)}
    return row | {"egrid": "+".join(names)}


if __name__ == "__main__":
    main()
