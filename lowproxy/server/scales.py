"""Weighs answers: model sizes, grid readings and a method, brought together per candidate."""

from lowproxy.catalogue import price_per_1k
from lowproxy.core.eco import (
    CarbonIntensity,
    Coefficients,
    EcoImpact,
    Method,
    ModelFacts,
    Reading,
)
from lowproxy.core.eco_measured import measured, unsized
from lowproxy.core.model_names import ModelTable
from lowproxy.core.upstreams import Candidate, Endpoint, Model
from lowproxy.core.usage import Usage
from lowproxy.grid.annual import AnnualGrid

# What routing compares candidates by: a question of a page, an answer of half a page.
TYPICAL = Usage(prompt=500, completion=500)

_DEMO_NOTES = ("demo",)


class Scales:
    """Coefficients per (model, endpoint), worked out once; a request costs a few multiplications."""

    def __init__(self, method: Method, table: ModelTable, grid: AnnualGrid) -> None:
        self._method = method
        self._table = table
        self._grid = grid
        self._coefficients: dict[tuple[str, str], Coefficients | None] = {}

    def weigh(
        self,
        candidate: Candidate,
        usage: Usage | None,
        notes: tuple[str, ...] = (),
        reading: Reading | None = None,
    ) -> EcoImpact | None:
        """The impact of an answer: by what the upstream measured, else estimated.

        None where its tokens are unknown, or the model's size and nothing credible was measured. `notes` are
        the request's own.
        """
        if usage is None:
            return None
        coefficients = self._of(candidate.model, candidate.endpoint)
        if candidate.endpoint.provider.id == "demo":
            notes = (*_DEMO_NOTES, *notes)
        if reading is None:
            return coefficients.impact(usage, notes) if coefficients else None
        endpoint, there = candidate.endpoint, None
        if reading.zone is not None:
            there = self._grid.intensity(reading.zone, endpoint.region)
        if coefficients is not None:
            return measured(reading, coefficients.impact(usage, notes), there)
        pue, version = endpoint.provider.pue, self._method.version
        blank = unsized(usage, self.reading(endpoint), pue, version, notes)
        impact = measured(reading, blank, there)
        return impact if impact.energy_wh else None

    def typical(
        self, model: Model, endpoint: Endpoint
    ) -> tuple[float | None, float | None]:
        """Grams and price per 1000 tokens, for the pool: what `catalogue.build_pool` asks."""
        coefficients = self._of(model, endpoint)
        grams = (
            coefficients.impact(TYPICAL).carbon_per_1k_tokens_g
            if coefficients
            else None
        )
        return grams, price_per_1k(model)

    def reading(self, endpoint: Endpoint) -> CarbonIntensity:
        """The grid where an endpoint stands."""
        return self._grid.intensity(endpoint.zone, endpoint.region)

    def _of(self, model: Model, endpoint: Endpoint) -> Coefficients | None:
        key = (model.id, endpoint.id)
        if key not in self._coefficients:
            facts = self._facts(model)
            self._coefficients[key] = (
                None
                if facts is None
                else self._method.coefficients(
                    facts, self.reading(endpoint), endpoint.provider.pue
                )
            )
        return self._coefficients[key]

    def _facts(self, model: Model) -> ModelFacts | None:
        return model.facts or self._table.facts(model.id, model.upstream_model)
