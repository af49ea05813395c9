"""Who kills before the gateway has ended by itself is named, in `check` and before it hurts."""

import pytest

from lowproxy.cli import main
from lowproxy.cli.grace import (
    ENV_GRACE,
    Grace,
    needed_s,
    of_manifest,
    of_unit,
    seen,
    too_short,
)
from lowproxy.config import Config, Server, Timeouts
from lowproxy.errors import ConfigError


def config(drain_s=30.0, stop_delay_s=0.0):
    return Config(
        server=Server(stop_delay_s=stop_delay_s), timeouts=Timeouts(drain_s=drain_s)
    )


@pytest.mark.parametrize(
    ("said", "limit_s"),
    [
        ("TimeoutStopSec=45", 45),
        ("TimeoutStopSec = 1min 30s", 90),
        ("TimeoutSec=2m", 120),
        ("TimeoutStopSec=infinity", None),
        ("#TimeoutStopSec=1", 90),
        ("", 90),
        ("TimeoutStopSec=45\nTimeoutStopSec=", 90),
    ],
)
def test_a_unit(tmp_path, said, limit_s):
    """As systemd reads it; without a word it is systemd's default."""
    path = tmp_path / "lowproxy.service"
    path.write_text(f"[Service]\n{said}\n")
    assert of_unit(path).limit_s == limit_s


def test_drop_ins_go_over_the_unit(tmp_path):
    """In the order of their names."""
    path = tmp_path / "lowproxy@.service"
    path.write_text("[Service]\nTimeoutStopSec=45\n")
    folder = tmp_path / "lowproxy@.service.d"
    folder.mkdir()
    (folder / "20-b.conf").write_text("[Service]\nTimeoutStopSec=7\n")
    (folder / "10-a.conf").write_text("[Service]\nTimeoutStopSec=8\n")
    assert of_unit(path).limit_s == 7


@pytest.mark.parametrize("value", ["soon", "45 parsecs", "s"])
def test_what_is_no_time(tmp_path, value):
    """A mistake with its place."""
    path = tmp_path / "lowproxy.service"
    path.write_text(f"TimeoutStopSec={value}\n")
    with pytest.raises(ConfigError, match="needs a time"):
        of_unit(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        of_unit(tmp_path / "gone")


def test_a_manifest(tmp_path):
    """Every pod in it, in YAML and JSON; without a word it is the default of Kubernetes."""
    path = tmp_path / "pods.yaml"
    path.write_text(
        "    terminationGracePeriodSeconds: 60  # for both\n---\n"
        "# terminationGracePeriodSeconds: 1\n"
        '{"spec": {"terminationGracePeriodSeconds": 20}}\n'
    )
    assert [each.limit_s for each in of_manifest(path)] == [60, 20]
    path.write_text("kind: Pod\n")
    assert [each.limit_s for each in of_manifest(path)] == [30]


def test_what_a_stop_needs():
    """The pause, the drain, and time to write the books."""
    assert needed_s(config(30, 5)) == 40
    assert needed_s(config(0)) is None


def test_who_is_too_quick():
    """Each is named with both figures; one that waits for ever is never too quick."""
    graces = [Grace("a", 39.0), Grace("b", 40.0), Grace("c", None)]
    (line,) = too_short(config(30, 5), graces)
    assert line.startswith("a kills after 39 s, and a stop may take 40 s: ")
    assert "server.stop_delay_s (5), timeouts.drain_s (30)" in line
    lines = list(too_short(config(0), graces))
    assert ["drain_s is 0" in line for line in lines] == [True, True]


def test_what_is_seen_without_being_named(tmp_path):
    """The variable, and installed units that may be read."""
    path = tmp_path / "lowproxy.service"
    path.write_text("TimeoutStopSec=9\n")
    units = (path, tmp_path / "lowproxy@.service")
    assert [each.limit_s for each in seen({ENV_GRACE: "20"}, units)] == [20, 9]
    assert seen({}, ()) == []
    with pytest.raises(ConfigError, match=ENV_GRACE):
        seen({ENV_GRACE: "soon"}, ())


def test_the_command(tmp_path, monkeypatch, capsys):
    """A file that is named and too quick is a mistake, 78; what is only seen is a note."""
    monkeypatch.chdir(tmp_path)
    unit = tmp_path / "x.service"
    unit.write_text("TimeoutStopSec=31\n")
    assert main(["check", "--unit", str(unit)]) == 78
    assert "kills after 31 s" in capsys.readouterr().err
    unit.write_text("TimeoutStopSec=36\n")
    monkeypatch.setenv(ENV_GRACE, "30")
    assert main(["check", "--unit", str(unit), "--manifest", str(unit)]) == 78
    assert "Kubernetes' default" in capsys.readouterr().err
    assert main(["check", "--unit", str(unit)]) == 0
    out = capsys.readouterr().out
    assert "stop           at most 35 s" in out
    assert f"note: {ENV_GRACE} kills after 30 s" in out
