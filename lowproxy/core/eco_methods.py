"""The ways to estimate, by version: one list, written by hand."""

from collections.abc import Mapping

from lowproxy.core.eco import Method
from lowproxy.core.eco_ecologits import Ecologits
from lowproxy.core.eco_roofline import Roofline
from lowproxy.core.eco_v04 import V04Compat

# The one whose errors on measured points are smallest: METHODOLOGY.md has the table.
DEFAULT: Method = Roofline()

METHODS: Mapping[str, Method] = {
    method.version: method for method in (DEFAULT, Ecologits(), V04Compat())
}


def find_method(name: str) -> Method:
    """A method by version (`v1.0-2026-11`) or short name (`roofline`).

    Raises KeyError whose message lists what there is.
    """
    for method in METHODS.values():
        if name in (method.version, method.name):
            return method
    known = ", ".join(f"{m.version} ({m.name})" for m in METHODS.values())
    raise KeyError(f"no methodology {name!r}; there are {known}")
