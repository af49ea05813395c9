"""Reads the data files that the methods use, for their hashes and what they say."""

from functools import cache
from importlib.resources import files

from lowproxy.core.eco_manifest import GRIDS, MODELS, DataFile
from lowproxy.grid.model_table import ECOLOGITS, OPEN_WEIGHTS

GRID_FILES = ("grid_annual.json", "grid_zones.json", "regions.json")


@cache
def load_data_files() -> tuple[DataFile, ...]:
    """Every file, as it was at the first call; some milliseconds then.

    The tables in use were read when the process started. A package that is replaced
    under a running gateway is noticed only at its restart, here as there.
    """
    data = files("lowproxy") / "data"
    named = [(name, MODELS) for name in (OPEN_WEIGHTS, ECOLOGITS)]
    named += [(name, GRIDS) for name in GRID_FILES]
    return tuple(
        DataFile.read(name, role, (data / name).read_bytes()) for name, role in named
    )
