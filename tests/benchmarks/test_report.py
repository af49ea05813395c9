"""Tables come from raw files and say what the raw files say."""

import json
from pathlib import Path

import pytest

from benchmarks.load.figures import Run
from benchmarks.load.report import renewed, spread, tables
from benchmarks.load.workloads import WORKLOADS


def load(cpu_us, delay_p50, **more):
    """One workload's figures as the load generator leaves them."""
    quantiles = {"p50": delay_p50, "p90": 200.0, "p99": 300.0, "p999": 400.0}
    return {
        "connections": 200,
        "events": 25000,
        "events_per_s": 10000.0,
        "answers": 4000,
        "answers_per_s": 2000.0,
        "cpu_us": cpu_us,
        "cpu_busy": 0.3,
        "idle_kib": 40_000,
        "during_kib": 42_000,
        "errors": {"cut": 0, "refused_503": 0},
        "delay_us": quantiles,
        "latency_us": quantiles,
        **more,
    }


def one_round(nginx, gateway, second_nginx):
    """One round: nginx, the gateway, nginx again, each with this CPU per event."""
    visits = {}
    for name, cpu in (
        ("nginx", nginx),
        ("lowproxy", gateway),
        ("nginx2", second_nginx),
    ):
        loads = {"S2": load(cpu, 100.0), "S3": load(cpu, 100.0, connections=1000)}
        visits[name] = {
            "fresh_kib": 38_000,
            "idle_kib": 40_960,
            "peak_kib": 51_200,
            "loads": loads,
        }
    return visits


def raw(*rounds):
    """A raw file."""
    return {
        "date": "2026-01-01",
        "commit": "abc",
        "machine": {
            "cpu": "Some CPU",
            "cores": 2,
            "virtual": True,
            "memory_gib": 8,
            "system": "Some System",
            "kernel": "6.1",
        },
        "versions": {"python": "3.11", "nginx": "1.22"},
        "order": ["nginx", "lowproxy", "nginx2"],
        "workloads": {name: WORKLOADS[name].facts() for name in ("S2", "S3")},
        "rounds": list(rounds),
    }


def test_a_ratio_is_taken_within_a_round():
    """A round in which everything was twice as dear leaves the ratio as it is."""
    run = Run([raw(one_round(20, 33, 40), one_round(40, 66, 80))])

    assert run.ratios("lowproxy", "S2", "cpu_us") == [33 / 30, 66 / 60]
    assert run.ratios("nginx", "S2", "cpu_us") == [20 / 30, 40 / 60]


def test_tls_is_held_against_plain_nginx():
    """The yardstick of a TLS workload is nginx without TLS."""
    visits = one_round(20, 30, 20)
    visits["lowproxy"]["loads"]["T"] = load(40, 150.0)
    visits["nginx"]["loads"]["T"] = load(25, 150.0)

    assert Run([raw(visits)]).ratios("lowproxy", "T", "cpu_us") == [2.0]


def test_the_tables_show_median_and_range():
    """Machine and versions come before any number; rounds become a median with its range."""
    text = tables(
        [raw(one_round(30, 33, 30), one_round(30, 36, 30), one_round(30, 45, 30))]
    )

    assert text.index("Some CPU") < text.index("###")
    assert "| lowproxy | 36.0 (33.0-45.0) | 1.20 (1.10-1.50) |" in text
    assert "| CPU per event, 200 x 50/s (S2) | 1.4 x nginx | 1.2 x nginx " in text
    assert "| 1.20 (1.10-1.50) | goal met |" in text
    assert "| memory per open slow stream (S3) | 30 KiB | 14 KiB | 2.0 " in text


def test_failed_visits_and_loads_leave_gaps_not_lies():
    """What was not measured is a dash or absent; it is never a zero."""
    visits = one_round(30, 33, 30)
    visits["nginx2"] = {"failed": "did not start"}
    visits["lowproxy"]["loads"]["S2"] = {"failed": "no connection"}

    text = tables([raw(visits)])

    assert "| nginx | 30.0 | 1.00 |" in text
    section = text[text.index("### S2") : text.index("### Memory")]
    assert "lowproxy" not in section.partition("### S3")[0]
    assert "nginx2" not in section


def test_errors_are_told_by_kind():
    """An error in any round shows, with its kind and the sum of the rounds."""
    visits = one_round(30, 33, 30)
    visits["lowproxy"]["loads"]["S2"]["errors"]["cut"] = 3

    assert "| 6 cut |" in tables([raw(visits, visits)])


def test_system_calls_are_told_per_event_and_waits_apart():
    """Waits of the loop do not count as calls of an event."""
    visits = one_round(30, 33, 30)
    calls = {"read": 25000, "write": 25000, "epoll_pwait": 5000}
    visits["lowproxy"]["loads"]["SYS"] = load(40, 1.0, syscalls=calls)
    file = raw(visits)
    file["workloads"]["SYS"] = WORKLOADS["SYS"].facts()

    row = "| lowproxy | 2.000 | 0.200 | 10000 | read 1.000, write 1.000, epoll_pwait 0.200 |"
    assert row in tables([file])


def test_tables_in_a_page_are_renewed_between_their_marks(tmp_path):
    """Only what stands between the marks changes, and it is what the raw file gives."""
    (tmp_path / "a.json").write_text(json.dumps(raw(one_round(30, 33, 30))))
    page = "before\n<!-- tables: a.json -->\nold\n<!-- /tables -->\nafter\n"

    new = renewed(page, tmp_path)

    assert new.startswith("before\n") and new.endswith("\nafter\n")
    assert "old" not in new
    assert tables([raw(one_round(30, 33, 30))]) in new
    assert renewed(new, tmp_path) == new


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md"])
def test_the_pages_have_the_tables_of_their_raw_files(page):
    """What a README shows is what the kept raw files say."""
    top = Path(__file__).resolve().parents[2]
    text = (top / page).read_text()

    assert renewed(text, top / "benchmarks" / "results") == text


def test_the_short_tables(tmp_path):
    """Of a run the bounds alone, or each proxy's cost over nginx's."""
    (tmp_path / "a.json").write_text(json.dumps(raw(one_round(30, 33, 30))))
    bounds = renewed("<!-- bounds: a.json -->\n<!-- /bounds -->", tmp_path)
    beside = renewed("<!-- beside: a.json -->\n<!-- /beside -->", tmp_path)

    assert "| CPU per event, 200 x 50/s (S2) | 1.4 x nginx |" in bounds
    assert "| lowproxy | 1.10 |" in beside
    assert "us/event" not in bounds + beside


def test_spread():
    """A single figure has no range; none is a dash."""
    assert spread([]) == "-"
    assert spread([1.0], 2) == "1.00"
    assert spread([3, 1, 2]) == "2.0 (1.0-3.0)"
