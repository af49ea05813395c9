"""Energy and carbon of one request: the values, and the one interface a method has.

Methods are pure functions of (model facts, token counts, grid reading); they live in
their own modules and are chosen by version (`eco_methods`). Nothing here reads a file
or a clock.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from lowproxy.core.expected import Grams
from lowproxy.core.usage import Usage

# Best first. They say how good the inputs of an estimate are, not how narrow its bounds.
BANDS = ("accurate", "medium", "gross")


@attrs.frozen
class Deployment:
    """How a provider runs a model, as far as a public table says.

    Speeds are of one request: output tokens per second, seconds to the first token.
    PUE and WUE (litres per kWh, on site) are ranges; both ends equal where known.
    """

    tokens_per_s: float | None = None
    first_token_s: float | None = None
    pue_low: float | None = None
    pue_high: float | None = None
    wue_low: float | None = None
    wue_high: float | None = None


@attrs.frozen
class ModelFacts:
    """What an estimate needs to know of a model.

    Where only a range is known, the plain fields hold its middle and the `_low` and
    `_high` ones its ends; they are None for a size that is published.
    """

    total_params_b: float  # billions
    active_params_b: float  # billions; equal to total for a dense model
    weight_bits: float | None = None  # None: not published
    source: str | None = None  # where a reader can check; None: somebody's guess
    name: str | None = None  # the row of the eco tables that it came from
    total_low_b: float | None = None
    total_high_b: float | None = None
    active_low_b: float | None = None
    active_high_b: float | None = None
    kv_kb: float | None = None  # kB of keys and values that a token of context holds
    experts: tuple[int, int] | None = None  # used per token, in all; None: not known
    encoder: bool = False  # embeds or ranks: reads tokens and writes none
    deployment: Deployment | None = None
    notes: tuple[str, ...] = ()

    @property
    def total_range_b(self) -> tuple[float, float]:
        """Smallest and largest size in billions; equal where it is published."""
        low, high = self.total_low_b, self.total_high_b
        return low or self.total_params_b, high or self.total_params_b

    @property
    def active_range_b(self) -> tuple[float, float]:
        """Smallest and largest number of active parameters in billions."""
        low, high = self.active_low_b, self.active_high_b
        return low or self.active_params_b, high or self.active_params_b


@attrs.frozen
class CarbonIntensity:
    """How dirty a zone's electricity is, at one moment or over one year."""

    zone: str
    grams_per_kwh: float
    low: float  # cleanest member of a blend; equal to grams_per_kwh for one zone
    high: float
    source: str
    at: str  # "2025" for an annual figure, else ISO 8601
    kind: str = "average"  # as `at` and `factor`, empty where nobody says
    factor: str = "lifecycle"
    live: bool = False
    blended: bool = False  # the country is not known: costs a band of accuracy
    water_l_per_kwh: float | None = None  # of generation; None: unknown
    estimated: bool | None = None  # the source modelled it; None: it does not say


@attrs.frozen
class Reading:
    """What an upstream says that an answer took, as it came: nobody has checked it.

    Energy is in Wh at `boundary`: gpu, facility, or unstated. The last four are another
    gateway's own, which says more than a meter.
    """

    source: str  # whose form it has, such as "neuralwatt"
    energy_wh: float
    boundary: str
    carbon_g: float | None = None
    zone: str | None = None
    method: str = "measured"
    notes: tuple[str, ...] = ()
    energy_wh_low: float | None = None
    energy_wh_high: float | None = None
    accuracy: str | None = None
    methodology_version: str | None = None


# Not frozen, for what is kept in it: nothing else of it is ever changed.
@attrs.define
class Basis:
    """What an impact rests on: all that requests to one model at one place have in common."""

    accuracy: str  # accurate | medium | gross: how good the inputs are
    methodology_version: str
    grid: CarbonIntensity
    method: str = "estimated"
    notes: tuple[str, ...] = ()
    pue: float | None = None
    boundary: str = "facility"
    model_ref: str | None = None
    reading: Reading | None = None  # where `method` is not "estimated"
    # What `core.eco_block` and the ledger make of it, once for all of these requests.
    wording: Any = attrs.field(init=False, eq=False, repr=False, default=None)
    columns: Any = attrs.field(init=False, eq=False, repr=False, default=None)


# Never changed once it is made, but not frozen: one is built per request, and a frozen
# value takes three times as long.
@attrs.define
class EcoImpact:
    """What one request cost, with bounds. Usage only; embodied carbon is apart.

    Energy is in Wh, carbon in grams of CO2 equivalent, water in millilitres. None is
    unknown, never zero.
    """

    energy_wh: float
    energy_wh_low: float
    energy_wh_high: float
    carbon_g: float
    carbon_g_low: float
    carbon_g_high: float
    tokens: Usage
    basis: Basis
    embodied_g: float | None = None
    water_ml: float | None = None
    # The contract's figures as `core.eco_block` renders them: the answer and the access
    # line tell the same ones.
    told: bytes | None = attrs.field(init=False, eq=False, repr=False, default=None)

    @property
    def accuracy(self) -> str:
        """How good the inputs are: accurate, medium or gross."""
        return self.basis.accuracy

    @property
    def methodology_version(self) -> str:
        """Formula, coefficients and date of the data."""
        return self.basis.methodology_version

    @property
    def grid(self) -> CarbonIntensity:
        """The grid that it was weighed with."""
        return self.basis.grid

    @property
    def method(self) -> str:
        """Estimated, measured, or measured_scaled."""
        return self.basis.method

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said of it."""
        return self.basis.notes

    @property
    def pue(self) -> float | None:
        """The facility's energy per energy of its computers."""
        return self.basis.pue

    @property
    def boundary(self) -> str:
        """What the energy includes: facility, or unstated."""
        return self.basis.boundary

    @property
    def model_ref(self) -> str | None:
        """The row of the eco tables."""
        return self.basis.model_ref

    @property
    def reading(self) -> Reading | None:
        """What the upstream told."""
        return self.basis.reading

    @property
    def carbon_per_1k_tokens_g(self) -> float:
        """Grams per thousand prompt and completion tokens together."""
        total = self.tokens.total
        return self.carbon_g / total * 1000 if total else 0.0

    def but(self, **changes: Any) -> "EcoImpact":
        """The same with other values, of its own or of its basis."""
        own = {name: changes.pop(name) for name in _OWN & changes.keys()}
        return attrs.evolve(self, **own, basis=attrs.evolve(self.basis, **changes))


_OWN = {each.name for each in attrs.fields(EcoImpact) if each.init} - {"basis"}


class Coefficients(Protocol):
    """A method applied to one model at one place: all that requests have in common."""

    def impact(self, usage: Usage, notes: tuple[str, ...] = ()) -> EcoImpact:
        """The impact of one request: a few multiplications."""

    def grams(self) -> Grams:
        """Grams per request and per token, to expect a request's by."""

    def stages(self, usage: Usage) -> Mapping[str, tuple[float, float, float]]:
        """Wh of one request by stage, central, low and high.

        `gpu_wh` is the accelerators alone, `it_wh` with their servers, `energy_wh` at
        the boundary.
        """


class Method(Protocol):
    """One versioned way to estimate."""

    @property
    def version(self) -> str:
        """Such as `v1.0-2026-11`: formula, coefficients, date of the data."""

    @property
    def name(self) -> str:
        """The short name, such as `roofline`."""

    def coefficients(
        self, facts: ModelFacts, grid: CarbonIntensity, pue: float | None
    ) -> Coefficients:
        """Work out once, per model and place, what every request needs."""

    def estimate(
        self,
        facts: ModelFacts,
        usage: Usage,
        grid: CarbonIntensity,
        pue: float | None,
        notes: tuple[str, ...] = (),
    ) -> EcoImpact:
        """The impact of `usage` tokens on that model at that place."""
