"""The tests mirror the package, and its data files are there and can be read."""

import ast
import json
import tomllib
from importlib import resources
from pathlib import Path

import pytest

import lowproxy

PACKAGE = Path(lowproxy.__file__).parent
TESTS = Path(__file__).parent
DATA = sorted(path.name for path in (PACKAGE / "data").iterdir())

# A module without a test file of its own, and where its promises are held instead.
ELSEWHERE = {
    "__init__.py": ("test_packaging.py", "the version"),
    "__main__.py": ("e2e/test_first_minute.py", "it only calls the command line"),
    "cli/__init__.py": ("cli/test_main.py", "what the console script calls"),
    "cli/eco_text.py": ("cli/test_eco.py", "what `lowproxy eco` prints"),
    "config/__init__.py": ("config/test_config.py", "the whole configuration"),
    "config/rows.py": ("config/test_reading.py", "the file's rows, as they are read"),
    "grid/__init__.py": ("grid/test_feed.py", "the list of sources"),
    "grid/manifest.py": ("core/test_eco_manifest.py", "read there, from the files"),
    "store/shared_scripts.py": ("store/test_shared_limiter.py", "run by a real server"),
    "store/migrations/__init__.py": ("store/test_migrations.py", "the runner"),
    "providers/__init__.py": ("providers/test_provider.py", "the list of dialects"),
}


def _modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if len(ast.parse(path.read_text()).body) > 1 or not name.endswith(
            "__init__.py"
        ):
            yield name


# Every module with code in it, by its path in the package.
MODULES = list(_modules())


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_its_test_file(name):
    """At the same place under tests/; an exception is listed with its reason."""
    folder, _, file = name.rpartition("/")
    own = TESTS / folder / f"test_{file}"
    if name in ELSEWHERE:
        other, reason = ELSEWHERE[name]
        assert (TESTS / other).is_file()
        assert reason
        assert not own.exists(), f"{name} need not be an exception any more"
    else:
        assert own.is_file(), f"{name} has no {own.relative_to(TESTS.parent)}"


def test_no_exception_outlives_its_module():
    """A module that is gone leaves the list."""
    assert set(ELSEWHERE) <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_says_what_it_is_for(name):
    """In its first line."""
    doc = ast.get_docstring(ast.parse((PACKAGE / name).read_text()))
    assert doc, f"{name} opens without saying what it is for"
    assert doc.splitlines()[0].endswith((".", ":", "..."))


@pytest.mark.parametrize("name", DATA)
def test_data_files_load(name):
    """As data of the package, in the form that their name says."""
    text = (resources.files(lowproxy) / "data" / name).read_text("utf-8")
    kind = name.rpartition(".")[2]
    if kind == "json":
        assert json.loads(text)
    elif kind == "toml":
        assert tomllib.loads(text)
    else:
        assert kind in ("md", "csv", "html")
        assert text.strip()


def test_the_streams_are_not_converted():
    """Line ends are what their tests are about: no checkout may touch them."""
    attributes = (TESTS / "streams" / ".gitattributes").read_text()
    assert "*.sse -text" in attributes
    assert any(
        b"\r\n" in path.read_bytes() for path in (TESTS / "streams").glob("*.sse")
    )
