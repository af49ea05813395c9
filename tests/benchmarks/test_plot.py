"""What is drawn is what the raw files hold."""

import pytest

from benchmarks.load.figures import Run
from benchmarks.load.workloads import named
from benchmarks.plot import costs, delays, drawings, lines, memories


def load(connections, cpu_us):
    """One workload's figures."""
    return {
        "connections": connections,
        "events_per_s": connections * 50.0,
        "cpu_us": cpu_us,
        "idle_kib": 40_000,
        "during_kib": 40_000 + 10 * connections,
        "delay_us": {"p50": 90.0, "p99": 300.0},
    }


RAW = {
    "order": ["direct", "nginx"],
    "workloads": {
        name: named(name).facts() for name in ("S2", "S2@400", "S3", "S3@500")
    },
    "rounds": [
        {
            "direct": {"loads": {}},
            "nginx": {
                "loads": {
                    "S2": load(200, 30.0),
                    "S2@400": load(400, 28.0),
                    "S3": load(1000, 40.0),
                    "S3@500": load(500, 41.0),
                }
            },
        }
    ],
}
STAGES = {
    "unit_ns": 500.0,
    "stages": [{"name": "read", "per": "request", "ns": 1000.0}],
}


def test_points():
    """Delay by share, cost by events a second, memory by streams; each in order."""
    run = Run([RAW])

    assert delays(run, "nginx") == [(0.5, 90.0), (0.99, 300.0)]
    assert costs(run, "nginx") == [(10_000.0, 30.0), (20_000.0, 28.0)]
    assert memories(run, "nginx") == [(500.0, 5000 / 1024), (1000.0, 10_000 / 1024)]


def test_what_was_not_measured_is_not_drawn():
    """A proxy without points has no line."""
    assert list(lines(Run([RAW]), costs)) == ["nginx"]


def test_drawings():
    """Every plot that the files allow, and no other."""
    pytest.importorskip("matplotlib")

    assert set(drawings([RAW, STAGES])) == {"delay", "cpu", "memory", "stages"}
    assert set(drawings([STAGES])) == {"stages"}
