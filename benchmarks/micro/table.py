"""The table of the stages, from a raw file."""

from typing import Any


def stage_table(file: dict[str, Any]) -> str:
    """One row a stage: nanoseconds, and multiples of one parse of a 215-byte request."""
    unit = file["unit_ns"]
    lines = [
        "| stage | per | ns | units |",
        "| --- | --- | --- | --- |",
        f"| `orjson.loads` of a 215 B request: the unit | | {unit:,.0f} | 1.0 |",
    ]
    lines += [
        f"| {row['name']} | {row['per']} | {row['ns']:,.0f} | {_units(row, unit):.1f} |"
        for row in file["stages"]
    ]
    return "\n".join(lines)


def _units(row: dict[str, Any], unit_ns: float) -> float:
    """As measured side by side; older files have the two times alone."""
    return float(row.get("units", row["ns"] / unit_ns))
