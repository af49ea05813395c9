"""The list of methods."""

import re

import pytest

from lowproxy.core.eco_methods import DEFAULT, METHODS, find_method


def test_versions_have_the_documented_form():
    """`v<major>.<minor>-<YYYY-MM>`, and each is its own key."""
    for version, method in METHODS.items():
        assert method.version == version
        assert re.fullmatch(r"v\d+\.\d+-20\d\d-(0[1-9]|1[0-2])", version)


def test_the_default_is_one_of_them():
    """By object, so that a configuration without a choice gets it."""
    assert METHODS[DEFAULT.version] is DEFAULT


@pytest.mark.parametrize(
    "name", ["roofline", "ecologits", "v0.4-compat", "v1.0-2026-11"]
)
def test_methods_are_found_by_version_and_by_name(name):
    """Either will do in a configuration."""
    assert name in (find_method(name).version, find_method(name).name)


def test_an_unknown_one_is_answered_with_the_list():
    """So that the mistake can be mended without the documentation."""
    with pytest.raises(KeyError, match="v0.4-2026-01"):
        find_method("v7")
