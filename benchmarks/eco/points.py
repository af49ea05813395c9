"""The measured points, and what the tables know of their models."""

import csv
from pathlib import Path

import attrs

from lowproxy.core.eco import ModelFacts
from lowproxy.grid.model_table import load_models

POINTS = Path(__file__).with_name("ml_energy_v3_points.csv")

# Prompt tokens are not in the file: about what the two tasks' questions have.
PROMPT_TOKENS = {"lm-arena-chat": 150, "gpqa": 300}


@attrs.frozen
class Point:
    """One configuration: GPU energy of all GPUs per output token, in mWh."""

    model: str
    task: str
    gpu: str
    batch_class: int
    batch: float
    output_tokens: float
    mwh: float
    facts: ModelFacts

    @property
    def prompt_tokens(self) -> int:
        """About how long the prompts were."""
        return PROMPT_TOKENS[self.task]

    @property
    def family(self) -> str:
        """The architecture: what is left out together, so that nothing is leaked."""
        return self.facts.name or self.model


def load_points() -> list[Point]:
    """All points; the models are found by their Hugging Face ids as a request's is."""
    table = load_models()
    points = []
    with POINTS.open(newline="") as file:
        for row in csv.DictReader(file):
            facts = table.facts(row["model"])
            if facts is None:
                raise LookupError(f"{row['model']} is in no table")
            points.append(_point(row, facts))
    return points


def _point(row: dict[str, str], facts: ModelFacts) -> Point:
    return Point(
        model=row["model"],
        task=row["task"],
        gpu=row["gpu"],
        batch_class=int(row["batch_class"]),
        batch=float(row["mean_batch"]),
        output_tokens=float(row["mean_output_tokens"]),
        mwh=float(row["gpu_energy_mwh_per_output_token"]),
        facts=facts,
    )
