"""The ways to estimate, by version: one list, written by hand."""

from collections.abc import Mapping

from lowproxy.core.eco import Method
from lowproxy.core.eco_lr1 import Lr1

DEFAULT: Method = Lr1()

METHODS: Mapping[str, Method] = {method.version: method for method in (DEFAULT,)}


def find_method(name: str) -> Method:
    """A method by version (`v1.0-2026-11`) or short name (`lr1`).

    Raises KeyError whose message lists what there is.
    """
    for method in METHODS.values():
        if name in (method.version, method.name):
            return method
    known = ", ".join(f"{m.version} ({m.name})" for m in METHODS.values())
    raise KeyError(f"no methodology {name!r}; there are {known}")
