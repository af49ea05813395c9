"""Weighs answers: model sizes, grid readings and a method, brought together per candidate."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import attrs

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
from lowproxy.core.expected import Grams
from lowproxy.core.grid_reading import MARGINAL
from lowproxy.core.model_names import ModelTable
from lowproxy.core.upstreams import Candidate, Endpoint, Model
from lowproxy.core.usage import Usage
from lowproxy.grid.annual import AnnualGrid
from lowproxy.grid.latest import LatestGrid

# What routing compares candidates by: a question of a page, an answer of half a page.
TYPICAL = Usage(prompt=500, completion=500)

_DEMO_NOTES = ("demo",)
# The upstream sent no usage: the tokens are our own count.
_COUNTED = "usage-counted"


class _Place(NamedTuple):
    """The grid where an endpoint stands."""

    reading: CarbonIntensity
    comparable: CarbonIntensity  # by life cycle factors, for ranking


class Expected(NamedTuple):
    """What follows model and endpoint in a `Candidate`; None is unknown."""

    carbon_g_per_1k: float | None
    price_per_1k: float | None
    grams: Grams | None
    zone: str | None
    tokens_per_s: float | None
    ranked: Grams | None


class _Worked(NamedTuple):
    """What was worked out for a model at a place, and the grid reading in it."""

    coefficients: Coefficients | None
    endpoint: Endpoint
    grid: CarbonIntensity


# How a candidate's answers are weighed, None where it cannot be told; and the notes of all of them.
_Way = tuple[Callable[[Usage, tuple[str, ...]], EcoImpact] | None, tuple[str, ...]]


class Scales:
    """Coefficients per (model, endpoint), worked out once; a request costs a few multiplications."""

    def __init__(
        self,
        method: Method,
        table: ModelTable,
        grid: AnnualGrid,
        signal: str = "average",
    ) -> None:
        self._method = method
        self._by_marginal = signal == MARGINAL
        self._table = table
        self._grid = LatestGrid(grid)
        self._places: dict[str, _Place] = {}
        self._worked: dict[tuple[str, str], _Worked] = {}
        # The same by candidate, for requests: one look-up, and what follows is a multiplication.
        self._ways: dict[str, _Way] = {}

    def use(self, live: Mapping[str, CarbonIntensity]) -> None:
        """Takes these live readings by zone, and no other, from now on.

        What was worked out with a reading that has not changed is kept.
        """
        self._grid = attrs.evolve(self._grid, live=live)
        self._places = {}
        self._ways = {}
        self._worked = {
            key: worked
            for key, worked in self._worked.items()
            if worked.grid == self.reading(worked.endpoint)
        }

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
        way = self._ways.get(candidate.id)
        estimate, own = self._way_of(candidate) if way is None else way
        if usage.counted:
            notes = (*notes, _COUNTED)
        if own:
            notes = own + notes
        if reading is not None:
            return self._measured(candidate, usage, notes, reading)
        return None if estimate is None else estimate(usage, notes)

    def _measured(
        self,
        candidate: Candidate,
        usage: Usage,
        notes: tuple[str, ...],
        reading: Reading,
    ) -> EcoImpact | None:
        coefficients = self._of(candidate.model, candidate.endpoint)
        endpoint, there = candidate.endpoint, None
        if reading.zone is not None:
            there = self._grid.intensity(reading.zone, endpoint.region)
        if coefficients is not None:
            return measured(reading, coefficients.impact(usage, notes), there)
        pue, version = endpoint.provider.pue, self._method.version
        blank = unsized(usage, self.reading(endpoint), pue, version, notes)
        impact = measured(reading, blank, there)
        return impact if impact.energy_wh else None

    def _way_of(self, candidate: Candidate) -> _Way:
        coefficients = self._of(candidate.model, candidate.endpoint)
        estimate = None if coefficients is None else coefficients.impact
        is_demo = candidate.endpoint.provider.id == "demo"
        way = self._ways[candidate.id] = (estimate, _DEMO_NOTES if is_demo else ())
        return way

    def typical(self, model: Model, endpoint: Endpoint) -> Expected:
        """What requests are expected to take there: what `catalogue.build_pool` asks.

        By life cycle factors only: direct ones are for weighing, never for comparing.
        """
        coefficients = self._of(model, endpoint)
        place = self._place(endpoint)
        if coefficients and place.comparable != place.reading:
            coefficients = self._work(model, endpoint, place.comparable)
        price, zone = price_per_1k(model), self._zone_of(endpoint, place.comparable)
        facts = self._facts(model)
        deployed = facts.deployment if facts else None
        speed = deployed.tokens_per_s if deployed else None
        if coefficients is None:
            return Expected(None, price, None, zone, speed, None)
        typical = coefficients.impact(TYPICAL).carbon_per_1k_tokens_g
        grams = coefficients.grams()
        ranked = self._ranked(model, endpoint, grams)
        return Expected(typical, price, grams, zone, speed, ranked)

    def _ranked(self, model: Model, endpoint: Endpoint, grams: Grams) -> Grams | None:
        """What a score's grams are made from: by the marginal rate where the operator wants that.

        Then a place without one is unknown, for an average beside it would not compare; while no place has
        one they rank by averages, all of them.
        """
        if not (self._by_marginal and self._grid.has_marginal):
            return grams
        marginal = self._grid.marginal(endpoint.zone, endpoint.region)
        if marginal is None:
            return None
        coefficients = self._work(model, endpoint, marginal)
        return coefficients.grams() if coefficients else None

    def reading(self, endpoint: Endpoint) -> CarbonIntensity:
        """The grid where an endpoint stands."""
        return self._place(endpoint).reading

    def _zone_of(self, endpoint: Endpoint, grid: CarbonIntensity) -> str | None:
        """The one grid zone that an endpoint draws from, by its row or its region."""
        return endpoint.zone or (None if grid.blended else grid.zone)

    def _place(self, endpoint: Endpoint) -> _Place:
        place = self._places.get(endpoint.id)
        if place is None:
            where = endpoint.zone, endpoint.region
            place = _Place(self._grid.intensity(*where), self._grid.comparable(*where))
            self._places[endpoint.id] = place
        return place

    def _of(self, model: Model, endpoint: Endpoint) -> Coefficients | None:
        key = (model.id, endpoint.id)
        worked = self._worked.get(key)
        if worked is None:
            grid = self.reading(endpoint)
            coefficients = self._work(model, endpoint, grid)
            worked = self._worked[key] = _Worked(coefficients, endpoint, grid)
        return worked.coefficients

    def _work(
        self, model: Model, endpoint: Endpoint, grid: CarbonIntensity
    ) -> Coefficients | None:
        facts = self._facts(model)
        if facts is None:
            return None
        return self._method.coefficients(facts, grid, endpoint.provider.pue)

    def _facts(self, model: Model) -> ModelFacts | None:
        return model.facts or self._table.facts(model.id, model.upstream_model)
