"""The picture of a simulation: what each strategy takes, and what the weight of carbon changes."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "lowrouter", "svg.fonttype": "none"})

from matplotlib import pyplot as plt
from matplotlib.axes import Axes


def draw(found: dict[str, Any], path: Path) -> None:
    """Two panels, as SVG."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4))
    _strategies(left, found["strategies"])
    _weights(right, found["weights"])
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def _strategies(axes: Axes, rows: dict[str, Any]) -> None:
    for n, (name, row) in enumerate(rows.items()):
        x, y = row["g_per_1000"], row["usd_per_1000"]
        axes.plot(x, y, "o", color="C2" if name.startswith("auto") else "C7")
        label = f"{name}: p95 {row['whole_p95_s']:.1f} s"
        # In turn above and below: some stand close together.
        at = (4, 6) if n % 2 else (-30, -12)
        axes.annotate(label, (x, y), at, textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("g CO2e per 1000 requests")
    axes.set_ylabel("US$ per 1000 requests")
    axes.margins(0.35, 0.15)
    axes.set_title("ten zones, a week of May", fontsize=9)


def _weights(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for zones, colour in ((10, "C0"), (7, "C1")):
        some = [row for row in rows if row["zones"] == zones]
        x = [row["carbon"] for row in some]
        for key, name, style in (
            ("g_per_1000", "grams", "-o"),
            ("usd_per_1000", "money", "--s"),
            ("whole_p95_s", "p95", ":^"),
        ):
            y = [row[key] / some[0][key] for row in some]
            label = f"{name}, {zones} zones"
            axes.plot(x, y, style, color=colour, label=label, markersize=4)
    axes.set_xlabel("share of carbon in the score")
    axes.set_ylabel("of what it is without")
    axes.legend(fontsize=7)
    axes.set_title("sensitivity to the weights", fontsize=9)
