"""What a methodology consists of, so that a figure can be worked out again by anybody.

The formula, each coefficient with its unit and source, and the data files that it reads,
by hash. `GET /eco/methodologies/{version}` and `lowproxy eco methodologies` show it; a
test recomputes estimates from what is written here.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
import orjson

from lowproxy.core import eco_ecologits as ecologits
from lowproxy.core import eco_hardware as hardware
from lowproxy.core import eco_roofline as roofline
from lowproxy.core import eco_v04 as v04
from lowproxy.core.eco import Method
from lowproxy.core.eco_methods import DEFAULT

MODELS, GRIDS = "models", "grids"
CODE_LICENSE = "Apache-2.0"
_POINTS = "benchmarks/eco/ml_energy_v3_points.csv, fitted by benchmarks/eco/fit.py"
_PUE = "https://arxiv.org/abs/2509.20241"
_H100 = "https://www.nvidia.com/en-us/data-center/h100/"
_ECOLOGITS = "https://ecologits.ai/latest/methodology/llm_inference/"
_V04 = "https://github.com/mlco2/ecologits/blob/0.4.0/docs/methodology/llm_inference.md"


@attrs.frozen
class DataFile:
    """A table that the methods read; `role` is models or grids."""

    name: str
    role: str
    sha256: str
    header: Mapping[str, Any]  # what the file says of itself: license, source, date

    @classmethod
    def read(cls, name: str, role: str, content: bytes) -> Self:
        """From the bytes of a JSON file, whose one-line values are its header."""
        table = orjson.loads(content)
        kept = (str, int, float, bool)
        header = {k: v for k, v in table.items() if isinstance(v, kept)}
        return cls(name, role, hashlib.sha256(content).hexdigest(), header)


@attrs.frozen
class Coefficient:
    """One number of a formula."""

    name: str
    value: float
    unit: str
    what: str
    source: str


@attrs.frozen
class Formula:
    """What a method computes; every name in `text` is a coefficient or an input."""

    id: str
    summary: str
    text: tuple[str, ...]
    boundary: str
    batch: int  # requests that are taken to be served at a time
    coefficients: tuple[Coefficient, ...]


def summary(method: Method, is_active: bool) -> dict[str, Any]:
    """One row of the list of methodologies."""
    formula = formula_of(method)
    return {
        "version": method.version,
        "name": method.name,
        "summary": formula.summary,
        "boundary": formula.boundary,
        "batch": formula.batch,
        "default": method.version == DEFAULT.version,
        "active": is_active,
    }


def manifest(
    method: Method, files: Sequence[DataFile], is_active: bool
) -> dict[str, Any]:
    """All of one methodology: formula, coefficients, hashes and dates of the data."""
    formula = formula_of(method)
    inputs = [row for row in _INPUTS if any(row[0] in line for line in formula.text)]
    tables = [f.header for f in files if f.role == GRIDS and "at" in f.header]
    return {
        **summary(method, is_active),
        "formula": {
            "id": formula.id,
            "text": list(formula.text),
        },
        "inputs": [{"name": n, "unit": u, "what": w} for n, u, w in inputs],
        "coefficients": [attrs.asdict(each) for each in formula.coefficients],
        "ecologits_version": _ecologits_version(files),
        "grid": [
            {key: table[key] for key in ("at", "label", "factor", "source")}
            for table in tables
        ],
        "data": [_row(file) for file in files],
        "licenses": sorted({CODE_LICENSE, *(f.header["license"] for f in files)}),
        "page": "lowproxy/data/METHODOLOGY.md",
    }


def formula_of(method: Method) -> Formula:
    """The formula of a shipped method."""
    return FORMULAS[method.name]


def _row(file: DataFile) -> dict[str, Any]:
    said = ("license", "source", "carbon_source", "water_source", "quebec_source")
    dates = ("date", "version", "at", "label", "generated_by")
    header = {key: file.header[key] for key in said + dates if key in file.header}
    return {"file": file.name, "sha256": file.sha256, **header}


def _ecologits_version(files: Sequence[DataFile]) -> str | None:
    found = [f.header["version"] for f in files if "version" in f.header]
    return found[0] if found else None


_INPUTS = (
    ("total_b", "billions", "all parameters"),
    ("A", "billions", "active parameters; all of them for a dense model"),
    ("bits", "bits", "per weight as published; 8 where it is not"),
    ("used", "", "experts per token; without this A"),
    ("count", "", "experts in all; without this total_b"),
    ("kv", "GB", "keys and values per token of context; 6e-5 x A^0.36 if not known"),
    ("prompt", "tokens", "with those from a cache"),
    ("cached", "tokens", "of the prompt, read from the provider's cache"),
    ("completion", "tokens", "with reasoning"),
    ("first_token_s", "s", "to the first token; 0 where not known"),
    ("token_s", "s", "per output token as measured, else LATENCY"),
    ("pue", "", "of the provider, where known; else the method's own"),
    ("intensity", "g/kWh", "of the grid zone, yearly or live"),
)

_CARBON = "carbon_g = energy_wh x intensity / 1000"

_ROOFLINE = Formula(
    id="roofline",
    summary="bytes moved per output token, fitted on measured serving",
    text=(
        "dense: touched = total_b x bits / 8",
        "mixture: share = used / count",
        "  routed = min((total_b - A) / (1 - share), total_b)",
        "  touched = (total_b - routed x (1 - share)^BATCH) x bits / 8",
        "e_weights = BYTES x touched / BATCH",
        "e_context = KV x kv x (prompt + completion / 2)",
        "e_out = e_weights + e_context + ACTIVE x A + TOKEN",
        "e_in = PREFILL x A",
        "read = e_in x (prompt - cached) + CACHED x e_in x cached",
        "encoder: gpu_wh = read / 1000",
        "others: gpu_wh = (e_out x completion + read) / 1000",
        "it_wh = GPU_TO_IT x gpu_wh",
        "energy_wh = pue x it_wh",
        _CARBON,
        "low: BATCH_BUSY for BATCH, PUE_LOW for pue, 4 bits where not published,",
        "  the lower ends of ranges, gpu_wh / RESIDUAL",
        "high: BATCH_QUIET for BATCH, PUE_HIGH for pue, 16 bits where not published,",
        "  the upper ends of ranges, gpu_wh x RESIDUAL",
    ),
    boundary="facility",
    batch=roofline.BATCH,
    coefficients=(
        Coefficient("BYTES", roofline.BYTES_MWH, "mWh/GB", "reading weights", _POINTS),
        Coefficient("KV", roofline.KV_MWH, "mWh/GB", "reading keys, values", _POINTS),
        Coefficient(
            "ACTIVE",
            roofline.ACTIVE_MWH,
            "mWh per billion parameters",
            "arithmetic per output token",
            _POINTS,
        ),
        Coefficient(
            "TOKEN", roofline.TOKEN_MWH, "mWh", "the rest per output token", _POINTS
        ),
        Coefficient(
            "PREFILL",
            roofline.PREFILL_MWH,
            "mWh per billion parameters",
            "arithmetic per prompt token: 2 FLOP at 40 % of 989 TFLOP/s and 700 W",
            _H100,
        ),
        Coefficient(
            "CACHED",
            roofline.CACHED_SHARE,
            "",
            "a cached prompt token against a fresh one",
            "https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching",
        ),
        Coefficient("BATCH", roofline.BATCH, "requests", "served at a time", _POINTS),
        Coefficient(
            "BATCH_BUSY", roofline.BATCH_BUSY, "requests", "a busy server", _POINTS
        ),
        Coefficient(
            "BATCH_QUIET", roofline.BATCH_QUIET, "requests", "a quiet server", _POINTS
        ),
        Coefficient(
            "RESIDUAL",
            roofline.RESIDUAL,
            "",
            "geometric spread on architectures that the fit had not seen",
            _POINTS,
        ),
        Coefficient(
            "GPU_TO_IT",
            roofline.GPU_TO_IT,
            "",
            "servers against their accelerators, (58 + 25 + 10) / 58",
            "https://arxiv.org/abs/2508.15734",
        ),
        *(
            Coefficient(name, value, "", "pue where it is not known", _PUE)
            for name, value in (
                ("PUE", roofline.PUE),
                ("PUE_LOW", roofline.PUE_LOW),
                ("PUE_HIGH", roofline.PUE_HIGH),
            )
        ),
    ),
)

_ECOLOGITS_NOW = Formula(
    id="ecologits-0.11",
    summary="the formula of EcoLogits 0.11 with its own data",
    text=(
        "gpus = 1.2 x total_b x 2 / 80, rounded up to a power of two",
        "token_s as measured, else LATENCY_B x A + LATENCY_BATCH x BATCH + LATENCY_0",
        "gpu_wh = gpus x (ALPHA x e^(BETA x BATCH) x A + GAMMA) x completion",
        "answer_s = first_token_s + token_s x completion",
        "server_wh = SERVER_KW / 3.6 x gpus / 8 / BATCH x answer_s",
        "it_wh = gpu_wh + server_wh",
        "energy_wh = pue x it_wh",
        _CARBON,
        "low and high: the ends of the ranges of sizes and of pue; energy_wh is their mean",
    ),
    boundary="facility",
    batch=hardware.BATCH,
    coefficients=(
        Coefficient(
            "ALPHA",
            ecologits.ALPHA,
            "Wh per billion parameters",
            "per output token and GPU",
            _ECOLOGITS,
        ),
        Coefficient(
            "BETA", ecologits.BETA, "per request", "what sharing saves", _ECOLOGITS
        ),
        Coefficient(
            "GAMMA", ecologits.GAMMA, "Wh", "per output token and GPU", _ECOLOGITS
        ),
        Coefficient("BATCH", hardware.BATCH, "requests", "at a time", _ECOLOGITS),
        Coefficient(
            "SERVER_KW",
            hardware.SERVER_KW,
            "kW",
            "a server without its eight GPUs",
            _ECOLOGITS,
        ),
        *(
            Coefficient(name, value, unit, "of the latency regression", _ECOLOGITS)
            for name, unit, value in zip(
                ("LATENCY_B", "LATENCY_BATCH", "LATENCY_0"),
                ("s per billion parameters", "s per request", "s"),
                hardware.LATENCY_S,
                strict=True,
            )
        ),
    ),
)

_V04_COMPAT = Formula(
    id="ecologits-0.4",
    summary="the formula of EcoLogits 0.4 as the hosted product uses it, to compare with",
    text=(
        "energy_wh = (ALPHA x A + BETA) x (prompt + completion)",
        _CARBON,
        "low and high: the ends of a range of sizes",
    ),
    boundary="gpu",
    batch=1,
    coefficients=(
        Coefficient(
            "ALPHA", v04.ALPHA, "Wh per billion parameters", "per output token", _V04
        ),
        Coefficient("BETA", v04.BETA, "Wh", "per output token", _V04),
    ),
)

# By the method's short name.
FORMULAS: Mapping[str, Formula] = {
    "roofline": _ROOFLINE,
    "ecologits": _ECOLOGITS_NOW,
    "v0.4-compat": _V04_COMPAT,
}
