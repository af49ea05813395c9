"""Reads the tables of model sizes that ship with the package."""

from importlib.resources import files
from typing import Any

import orjson

from lowproxy.core.model_names import ModelTable

OPEN_WEIGHTS = "models_open_weights.json"
ECOLOGITS = "models_ecologits.json"


def load_models() -> ModelTable:
    """All known sizes; a few milliseconds, done once at start."""
    return ModelTable.build(_read(OPEN_WEIGHTS), _read(ECOLOGITS))


def load_ecologits() -> ModelTable:
    """Only what EcoLogits says of its models, to compare with its own library."""
    return ModelTable.build({"models": {}}, _read(ECOLOGITS))


def _read(name: str) -> Any:
    return orjson.loads((files("lowproxy") / "data" / name).read_bytes())
