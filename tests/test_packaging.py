"""What is installed: the wheel holds all that the program needs, and nothing else."""

import configparser
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lowproxy

ROOT = Path(__file__).parents[1]
BUILD_S = 120.0  # a busy machine

# What a build reads, and beside it what must not get into the wheel.
SOURCES = (
    *("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "lowproxy"),
    *("tests", "benchmarks", "deploy"),
)
SETUPTOOLS = (77,)  # as in pyproject.toml


def setuptools_version():
    """The version as numbers; empty where it is not installed."""
    try:
        return tuple(map(int, importlib.metadata.version("setuptools").split(".")[:2]))
    except importlib.metadata.PackageNotFoundError:
        return ()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources, without the network."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed here")
    if setuptools_version() < SETUPTOOLS:
        pytest.skip("setuptools 77 or later is not installed here")
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            nothing_built = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(ROOT / name, source / name, ignore=nothing_built)
        else:
            shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *offline, "-w", str(out), str(source)],
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DeprecationWarning" not in done.stderr
    (made,) = out.iterdir()
    return made


def inside(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel and what is in them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_version_is_said_once(wheel):
    """The wheel, its metadata and the program agree on the version."""
    metadata = inside(wheel)[f"lowproxy-{lowproxy.__version__}.dist-info/METADATA"]

    assert f"\nVersion: {lowproxy.__version__}\n".encode() in metadata
    assert re.fullmatch(r"\d+\.\d+\.\d+", lowproxy.__version__)


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    """Modules, the data files and the mark that the package is typed."""
    package = ROOT / "lowproxy"
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    shipped = {name for name in inside(wheel) if name.startswith("lowproxy/")}

    assert shipped == expected
    assert "lowproxy/py.typed" in shipped


def test_nothing_but_the_package_is_in_the_wheel(wheel):
    """No tests, no benchmarks, no deploy: what is installed is imported as lowproxy."""
    tops = {name.partition("/")[0] for name in inside(wheel)}

    assert tops == {"lowproxy", f"lowproxy-{lowproxy.__version__}.dist-info"}


def test_the_licence_travels_with_the_wheel(wheel):
    """LICENSE and NOTICE as they are in the tree, and the licence's name."""
    files = inside(wheel)
    info = f"lowproxy-{lowproxy.__version__}.dist-info"

    assert b"\nLicense-Expression: Apache-2.0\n" in files[f"{info}/METADATA"]
    for name in ("LICENSE", "NOTICE"):
        assert files[f"{info}/licenses/{name}"] == (ROOT / name).read_bytes()


def test_the_command_is_installed(wheel):
    """`lowproxy` on the command line is `lowproxy.cli:main`."""
    points = inside(wheel)[
        f"lowproxy-{lowproxy.__version__}.dist-info/entry_points.txt"
    ]

    assert b"lowproxy = lowproxy.cli:main" in points


def test_the_entry_point_can_be_loaded():
    """What setup.cfg names exists, whether or not a wheel can be built here."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, _, target = setup["options.entry_points"]["console_scripts"].partition("=")
    module, _, function = target.strip().partition(":")

    assert name.strip() == "lowproxy"
    assert callable(getattr(importlib.import_module(module), function))


def test_the_module_runs():
    """`python -m lowproxy --version` says the version."""
    done = subprocess.run(
        [sys.executable, "-m", "lowproxy", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=True,
    )

    assert done.stdout == f"lowproxy {lowproxy.__version__}\n"


def test_no_comment_became_part_of_a_value():
    """In setup.cfg a comment at the end of a line would be read as a requirement."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")

    for section in ("metadata", "options", "options.extras_require"):
        for option, value in setup[section].items():
            assert "#" not in value, f"[{section}] {option}"
