"""How long others let the gateway take to stop: what a unit or a manifest says, and what it needs."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from lowproxy.config import Config
from lowproxy.errors import ConfigError

# After the drain: cut streams are told why, books and logs are written.
MARGIN_S = 5.0
# Where the guide puts the unit.
UNITS = tuple(
    Path(folder, name)
    for folder in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/lib/systemd/system",
    )
    for name in ("lowproxy.service", "lowproxy@.service")
)
# In seconds; a manifest may set it beside terminationGracePeriodSeconds, which a pod cannot see.
ENV_GRACE = "LOWPROXY_GRACE_S"

_SYSTEMD_DEFAULT_S = 90.0
_POD_DEFAULT_S = 30.0
_UNITS_S = {
    "": 1,
    "s": 1,
    "sec": 1,
    "min": 60,
    "m": 60,
    "h": 3600,
    "hr": 3600,
    "ms": 0.001,
}
_UNITS_S |= {"second": 1, "seconds": 1, "minute": 60, "minutes": 60, "hour": 3600}


@attrs.frozen
class Grace:
    """After how long somebody kills what has not ended: seconds, None for never."""

    where: str
    limit_s: float | None


def needed_s(config: Config) -> float | None:
    """What a stop may take: the pause, the drain, and a margin. None: it may take for ever."""
    if not config.timeouts.drain_s:
        return None
    return config.server.stop_delay_s + config.timeouts.drain_s + MARGIN_S


def too_short(config: Config, graces: list[Grace]) -> Iterator[str]:
    """A line for each that kills before the gateway has ended by itself."""
    need_s = needed_s(config)
    for grace in graces:
        if grace.limit_s is None or (need_s is not None and need_s <= grace.limit_s):
            continue
        if need_s is None:
            need = "timeouts.drain_s is 0, so a stop may take for ever; set it"
        else:
            need = (
                f"a stop may take {need_s:g} s: server.stop_delay_s "
                f"({config.server.stop_delay_s:g}), timeouts.drain_s "
                f"({config.timeouts.drain_s:g}) and {MARGIN_S:g} s"
            )
        yield f"{grace.where} kills after {grace.limit_s:g} s, and {need}"


def seen(environ: Mapping[str, str], units: tuple[Path, ...] = UNITS) -> list[Grace]:
    """What can be seen without being told where: the variable, and units where they are installed."""
    graces = []
    if value := environ.get(ENV_GRACE, "").strip():
        if not re.fullmatch(r"\d+(\.\d+)?", value):
            raise ConfigError([f"{ENV_GRACE}: found {value[:20]!r}, needs seconds"])
        graces.append(Grace(ENV_GRACE, float(value)))
    return graces + [of_unit(path) for path in units if os.access(path, os.R_OK)]


def of_unit(path: Path) -> Grace:
    """A unit's TimeoutStopSec, with the drop-ins beside it. Raises ConfigError."""
    limit_s: float | None = _SYSTEMD_DEFAULT_S
    for file in (path, *sorted(Path(f"{path}.d").glob("*.conf"))):
        for name, value in re.findall(
            r"^\s*(TimeoutStopSec|TimeoutSec)\s*=\s*(.*?)\s*$",
            _text(file),
            re.MULTILINE,
        ):
            limit_s = _seconds(f"{file}: {name}", value)
    return Grace(f"{path}: TimeoutStopSec", limit_s)


def of_manifest(path: Path) -> list[Grace]:
    """Each terminationGracePeriodSeconds of a manifest, else the default of a pod. Raises ConfigError."""
    option = "terminationGracePeriodSeconds"
    said = re.findall(rf'^[^#\n]*?"?{option}"?:\s*(\d+)', _text(path), re.MULTILINE)
    where = f"{path}: {option}"
    if not said:
        return [Grace(f"{where} (Kubernetes' default)", _POD_DEFAULT_S)]
    return [Grace(where, float(each)) for each in said]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be read: {exc.strerror}"]) from None


def _seconds(where: str, value: str) -> float | None:
    """systemd.time(7): `45`, `1min 30s`, `infinity`; empty is the default."""
    if not value:
        return _SYSTEMD_DEFAULT_S
    if value in ("infinity", "0"):
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", value)
    bare = re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]*)", "", value).strip()
    if not parts or bare or any(unit not in _UNITS_S for _, unit in parts):
        raise ConfigError([f"{where}: found {value!r}, needs a time such as 45s"])
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
