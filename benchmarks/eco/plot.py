"""Draw estimated against measured energy per output token.

    python -m benchmarks.eco.plot [--out FILE]

Every measured point, each estimated by a fit that never saw its architecture. The band
is the geometric spread of the points about the diagonal, the dashed lines are a factor
of 2.5. Writes SVG, with nothing but the standard library.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.eco.fit import errors, left_out, roofline
from benchmarks.eco.points import Point, load_points

OUT = Path(__file__).with_name("estimated_vs_measured.svg")
LOW, HIGH = 0.01, 10.0  # mWh per output token, both axes
SIZE, MARGIN = 480, 60
COLOURS = {16: "#d95f02", 64: "#1b9e77", 128: "#7570b3", 256: "#e7298a"}


def place(value: float) -> float:
    """Distance from the start of an axis in pixels."""
    return SIZE * math.log(value / LOW) / math.log(HIGH / LOW)


def x_of(value: float) -> float:
    """Pixels from the left."""
    return MARGIN + place(value)


def y_of(value: float) -> float:
    """Pixels from the top."""
    return MARGIN + SIZE - place(value)


def draw(pairs: Sequence[tuple[Point, float]]) -> str:
    """The whole picture."""
    found = errors(pairs)
    width = height = SIZE + 2 * MARGIN
    title = (
        f"{found['points']} points of models left out of the fit: "
        f"spread x{found['spread']:.2f}, worst x{found['worst']:.2f}"
    )
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(MARGIN, 24, "Energy per output token, GPU, mWh", "start", 15),
        text(MARGIN, 44, title, "start"),
        band(found["spread"]),
        *grid(),
        diagonal(1.0, "#333", ""),
        diagonal(2.5, "#999", "5 4"),
        diagonal(1 / 2.5, "#999", "5 4"),
        *(dot(point, estimate) for point, estimate in pairs),
        *legend(),
        text(MARGIN + SIZE / 2, height - 14, "measured", "middle"),
        (
            f'<text transform="translate(16 {MARGIN + SIZE / 2}) rotate(-90)" '
            'text-anchor="middle">estimated</text>'
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def text(x: float, y: float, words: str, anchor: str, size: int = 12) -> str:
    """One line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'font-size="{size}">{escape(words)}</text>'
    )


def grid() -> list[str]:
    """Decades of both axes."""
    lines = []
    for power in range(round(math.log10(LOW)), round(math.log10(HIGH)) + 1):
        value = 10.0**power
        x, y = x_of(value), y_of(value)
        end = MARGIN + SIZE
        lines += [
            (
                f'<path d="M{x:.1f} {MARGIN}V{end}M{MARGIN} {y:.1f}H{end}" '
                'stroke="#ddd" fill="none"/>'
            ),
            text(x, end + 18, f"{value:g}", "middle"),
            text(MARGIN - 6, y + 4, f"{value:g}", "end"),
        ]
    return lines


def diagonal(factor: float, colour: str, dashes: str) -> str:
    """The line of estimate = factor x measurement, inside the axes."""
    start, end = max(LOW, LOW / factor), min(HIGH, HIGH / factor)
    return (
        f'<path d="M{x_of(start):.1f} {y_of(start * factor):.1f}'
        f'L{x_of(end):.1f} {y_of(end * factor):.1f}" stroke="{colour}" '
        f'stroke-dasharray="{dashes}" fill="none"/>'
    )


def band(spread: float) -> str:
    """What lies within the spread."""
    corners = [
        (LOW, LOW * spread),
        (HIGH / spread, HIGH),
        (HIGH, HIGH),
        (HIGH, HIGH / spread),
        (LOW * spread, LOW),
        (LOW, LOW),
    ]
    places = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in corners)
    return f'<polygon points="{places}" fill="#e8eef7"/>'


def dot(point: Point, estimate: float) -> str:
    """One point: round for the H100, square for the B200; its name on hovering."""
    x, y = x_of(point.mwh), y_of(estimate)
    name = escape(
        f"{point.model}, {point.task}, {point.gpu}, batch {point.batch:.0f}: "
        f"{point.mwh:.3g} measured, {estimate:.3g} estimated"
    )
    look = f'fill="{COLOURS[point.batch_class]}" fill-opacity="0.7"'
    if point.gpu == "H100":
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {look}>'
        return f"{shape}<title>{name}</title></circle>"
    shape = f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" {look}>'
    return f"{shape}<title>{name}</title></rect>"


def legend() -> list[str]:
    """Colours, shapes, band and dashes."""
    x, y = MARGIN + 14, MARGIN + 18
    lines = []
    for row, (batch, colour) in enumerate(COLOURS.items()):
        lines += [
            f'<circle cx="{x}" cy="{y + 18 * row - 4}" r="4" fill="{colour}"/>',
            text(x + 10, y + 18 * row, f"{batch} requests at a time", "start"),
        ]
    rest = ("round: H100, square: B200", "band: spread; dashed: factor 2.5")
    for row, words in enumerate(rest, start=len(COLOURS)):
        lines.append(text(x - 4, y + 18 * row, words, "start"))
    return lines


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.write_text(draw(left_out(load_points(), roofline)))
    print(out)


if __name__ == "__main__":
    main()
