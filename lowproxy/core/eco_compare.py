"""Two methods over the same stored requests: what each says, per model and in all.

History is never recomputed: the stored figures stay, this is beside them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Self

import attrs
import orjson

from lowproxy.core.eco import (
    CarbonIntensity,
    Coefficients,
    EcoImpact,
    Method,
    ModelFacts,
)
from lowproxy.core.eco_block import six
from lowproxy.core.eco_outcomes import UPSTREAM_CACHE
from lowproxy.core.grid_reading import MAX_G_PER_KWH
from lowproxy.core.usage import Usage

NOT_JSON = "not a JSON object"
NO_MODEL = "no model: not a request, or none that was routed"
NO_TOKENS = "no token counts"
BAD_TOKENS = "token counts that cannot be"
REPLAYED = "from a cache: no model ran"
_PLACE = ("provider", "region", "zone")
UNKNOWN_SIZE = "size not known of "


@attrs.frozen
class StoredRequest:
    """What a line of the access log, or of an export, says of one request."""

    model: str
    usage: Usage
    provider: str | None = None
    region: str | None = None
    zone: str | None = None
    grid: CarbonIntensity | None = None  # of the hour, where a live source was read

    @classmethod
    def parse(cls, line: bytes) -> Self | str:
        """The request, or why the line is none."""
        try:
            row = orjson.loads(line)
        except ValueError:
            return NOT_JSON
        if not isinstance(row, dict):
            return NOT_JSON
        model = _text(row, "model") or _text(row, "resolved_model")
        if model is None:
            return NO_MODEL
        usage = _usage(row)
        if isinstance(usage, str):
            return usage
        if _is_replayed(row):
            return REPLAYED
        provider, region, zone = (_text(row, key) for key in _PLACE)
        return cls(model, usage, provider, region, zone, _live_grid(row))


# Facts (None: size unknown), the grid there, and the PUE if it is declared.
Place = tuple[ModelFacts | None, CarbonIntensity, float | None]
Look = Callable[[StoredRequest], Place]


@attrs.define
class Sums:
    """Figures of several requests added up; bounds as if all erred alike."""

    energy_wh: float = 0.0
    energy_wh_low: float = 0.0
    energy_wh_high: float = 0.0
    carbon_g: float = 0.0
    carbon_g_low: float = 0.0
    carbon_g_high: float = 0.0

    def add(self, impact: EcoImpact) -> None:
        """Counts one request in."""
        self.energy_wh += impact.energy_wh
        self.energy_wh_low += impact.energy_wh_low
        self.energy_wh_high += impact.energy_wh_high
        self.carbon_g += impact.carbon_g
        self.carbon_g_low += impact.carbon_g_low
        self.carbon_g_high += impact.carbon_g_high

    def fields(self) -> dict[str, float]:
        """For JSON, at six digits."""
        return {name: six(value) for name, value in attrs.asdict(self).items()}


@attrs.define
class Pair:
    """What both methods say of the same requests."""

    requests: int = 0
    first: Sums = attrs.field(factory=Sums)
    second: Sums = attrs.field(factory=Sums)

    def add(self, first: EcoImpact, second: EcoImpact) -> None:
        """Counts one request in."""
        self.requests += 1
        self.first.add(first)
        self.second.add(second)

    @property
    def ratio(self) -> float | None:
        """Energy by the second method over that by the first; None where that is 0."""
        energy = self.first.energy_wh
        return self.second.energy_wh / energy if energy else None

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        ratio = {} if self.ratio is None else {"ratio": six(self.ratio)}
        sums = {"first": self.first.fields(), "second": self.second.fields()}
        return {"requests": self.requests, **sums, **ratio}


@attrs.define
class Comparison:
    """Two methods over a file of records."""

    first: Method
    second: Method
    by_model: dict[str, Pair] = attrs.field(factory=dict)
    total: Pair = attrs.field(factory=Pair)
    lines: int = 0
    skipped: Counter[str] = attrs.field(factory=Counter)  # by reason
    blended: int = 0  # requests whose country was not known

    def fields(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "first": self.first.version,
            "second": self.second.version,
            "lines": self.lines,
            "models": {name: pair.fields() for name, pair in self.by_model.items()},
            "total": self.total.fields(),
            "skipped": dict(self.skipped),
            "blended_grid": self.blended,
        }


def compare(
    lines: Iterable[bytes], first: Method, second: Method, look: Look
) -> Comparison:
    """Estimates every request of `lines` twice; what is no request is counted apart."""
    found = Comparison(first, second)
    rates: dict[Place, tuple[Coefficients, Coefficients]] = {}
    for line in lines:
        if not line.strip():
            continue
        found.lines += 1
        request = StoredRequest.parse(line)
        if isinstance(request, str):
            found.skipped[request] += 1
            continue
        place = look(request)
        facts, grid, pue = place
        if facts is None:
            found.skipped[UNKNOWN_SIZE + request.model] += 1
            continue
        found.blended += grid.blended
        if (both := rates.get(place)) is None:
            both = rates[place] = (
                first.coefficients(facts, grid, pue),
                second.coefficients(facts, grid, pue),
            )
        impacts = [each.impact(request.usage) for each in both]
        found.by_model.setdefault(request.model, Pair()).add(*impacts)
        found.total.add(*impacts)
    return found


def _text(row: dict[str, Any], key: str) -> str | None:
    value = row.get(key)
    return value if isinstance(value, str) and value else None


def _is_replayed(row: dict[str, Any]) -> bool:
    eco = row.get("eco")
    notes = eco.get("notes") if isinstance(eco, dict) else None
    return isinstance(notes, list) and UPSTREAM_CACHE in notes


def _live_grid(row: dict[str, Any]) -> CarbonIntensity | None:
    """The reading that the request was weighed by, where it was of the hour.

    A mean of the year is looked up again: the table is in the package, and has bounds.
    """
    eco = row.get("eco")
    grid = eco.get("grid") if isinstance(eco, dict) else None
    if not isinstance(grid, dict) or grid.get("live") is not True:
        return None
    grams, zone = grid.get("intensity_g_per_kwh"), _text(grid, "zone")
    if not isinstance(grams, int | float) or not 0 < grams < MAX_G_PER_KWH or not zone:
        return None
    source, at, kind, factor = (
        _text(grid, name) or "" for name in ("source", "at", "kind", "factor")
    )
    known = float(grams)
    return CarbonIntensity(
        zone, known, known, known, source, at, kind, factor, live=True
    )


def _usage(row: dict[str, Any]) -> Usage | str:
    """Token counts of a line, `usage` being OpenAI's object in some exports."""
    if isinstance(row.get("usage"), dict):
        return Usage.read(row["usage"]) or NO_TOKENS
    names = ("prompt_tokens", "completion_tokens", "cached_tokens")
    if all(row.get(name) is None for name in names[:2]):
        return NO_TOKENS
    counts = [0 if row.get(name) is None else row[name] for name in names]
    if not all(type(count) is int and count >= 0 for count in counts):
        return BAD_TOKENS
    prompt, completion, cached = counts
    if cached > prompt:
        return BAD_TOKENS
    return Usage(prompt, completion, cached)
