"""v0.4-compat: EcoLogits 0.4's regression, as the hosted product publishes it.

    energy = (8.91e-5 * A + 1.43e-3) * (prompt + completion)       Wh

A is the active parameters in billions. The regression is of one A100 that serves one
request at a time, in Wh per *output* token; it knows neither the number of GPUs nor
servers nor PUE, and the product applies it to prompt tokens as well. It is here only so
that its figures can be compared. One of the product's pages calls the coefficients kWh:
that is 1000 times too much (https://github.com/mlco2/ecologits/blob/0.4.0/docs/methodology/llm_inference.md).
"""

import attrs

from lowproxy.core.eco import CarbonIntensity, EcoImpact, ModelFacts
from lowproxy.core.eco_accuracy import placed_band
from lowproxy.core.eco_rates import Bounds, Rate, TokenRates
from lowproxy.core.usage import Usage

ALPHA = 8.91e-5  # Wh per token and billion active parameters
BETA = 1.43e-3  # Wh per token


@attrs.frozen
class V04Compat:
    """The abandoned formula in its right unit."""

    version: str = "v0.4-2026-01"
    name: str = "v0.4-compat"

    def coefficients(
        self, facts: ModelFacts, grid: CarbonIntensity, pue: float | None
    ) -> TokenRates:
        """What every request to this model at this place has in common.

        The formula has no place for `pue`.
        """
        low, high = facts.active_range_b
        rates = Bounds(_rate(facts.active_params_b), _rate(low), _rate(high))
        return TokenRates(
            version=self.version,
            model_ref=facts.name,
            grid=grid,
            pue=None,
            accuracy=placed_band(facts, grid),
            energy=rates,
            gpu=rates,
            it=rates,
            boundary="gpu",
            notes=facts.notes,
        )

    def estimate(
        self,
        facts: ModelFacts,
        usage: Usage,
        grid: CarbonIntensity,
        pue: float | None,
        notes: tuple[str, ...] = (),
    ) -> EcoImpact:
        """The impact of `usage` tokens on that model at that place."""
        return self.coefficients(facts, grid, pue).impact(usage, notes)


def _rate(active_b: float) -> Rate:
    token = ALPHA * active_b + BETA
    return Rate(completion=token, prompt=token, cached=token)
