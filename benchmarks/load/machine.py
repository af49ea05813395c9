"""What the figures were taken on: machine, programs, commit."""

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.load.process import ROOT, find

PACKAGES = ("aiohttp", "uvloop", "orjson", "attrs", "structlog", "prometheus_client")


def _said(*command: str) -> str:
    """The first line of what a program says; empty where it cannot be run."""
    program = find(command[0])
    if program is None:
        return ""
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else ""


def _line(path: str, start: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(start):
            return line.partition(":")[2].strip().strip('"')
    return ""


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def facts() -> dict[str, Any]:
    """Machine, versions, commit and date, for the head of a raw file."""
    changed = _said("git", "status", "--porcelain", "--untracked-files=no", "lowproxy")
    commit = _said("git", "rev-parse", "--short=12", "HEAD")
    memory_kib = int(_line("/proc/meminfo", "MemTotal").split()[0])
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit + (" with changes" if changed else ""),
        "machine": {
            "cpu": _line("/proc/cpuinfo", "model name"),
            "cores": len(os.sched_getaffinity(0)),
            "virtual": "hypervisor" in _line("/proc/cpuinfo", "flags"),
            "memory_gib": round(memory_kib / 2**20),
            "system": _system(),
            "kernel": platform.release().partition("-")[0],
        },
        "versions": {
            "python": sys.version.split()[0],
            **{name: _installed(name) for name in PACKAGES},
            "nginx": _said("nginx", "-v").rpartition("/")[2],
            "openssl": " ".join(_said("openssl", "version").split()[1:2]),
            "cc": _said("cc", "--version").rpartition(" ")[2],
            "strace": _said("strace", "--version").rpartition(" ")[2],
        },
    }
