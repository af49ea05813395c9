"""The plot of estimated against measured energy."""

from xml.etree import ElementTree

from benchmarks.eco import plot
from benchmarks.eco.fit import left_out, roofline
from benchmarks.eco.points import load_points

SVG = "{http://www.w3.org/2000/svg}"


def test_every_point_is_drawn_inside_the_axes():
    """Each with its name; the picture in the tree is this one."""
    points = load_points()
    drawn = plot.draw(left_out(points, roofline))
    root = ElementTree.fromstring(drawn)

    marks = [e for e in root if e.find(f"{SVG}title") is not None]
    assert len(marks) == len(points)
    for mark in marks:
        x = float(mark.get("cx") or mark.attrib["x"])
        assert plot.MARGIN - 4 <= x <= plot.MARGIN + plot.SIZE
    assert drawn == plot.OUT.read_text()
