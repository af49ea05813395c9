"""Reads the tables of model sizes that ship with the package."""

from importlib.resources import files

import orjson

from lowproxy.core.model_names import ModelTable

OPEN_WEIGHTS = "models_open_weights.json"
ECOLOGITS = "models_ecologits.json"


def load_models() -> ModelTable:
    """All known sizes; a few milliseconds, done once at start."""
    data = files("lowproxy") / "data"
    return ModelTable.build(
        orjson.loads((data / OPEN_WEIGHTS).read_bytes()),
        orjson.loads((data / ECOLOGITS).read_bytes()),
    )
