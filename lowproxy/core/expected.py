"""What a request takes at one candidate, as numbers to multiply with: worked out once per pool.

    grams = fixed + prompt * P + completion * A + context * A * (P + A / 2)
    price = prompt * P + completion * A

P and A are the tokens of the prompt and of the answer. For an answer of usual length both are straight
lines in P, which is what `Line` holds.
"""

from math import nan
from typing import NamedTuple

# Where the model's row does not say how long its answers are: the median of a large provider's chat
# traffic (Oviedo et al., arXiv 2509.20241).
ANSWER_TOKENS = 300


class Grams(NamedTuple):
    """Grams of CO2 equivalent: of any request, per token, per answer token and token it looks back on.

    `per_wh` is the grid's part in all of them; 0 where it is not known.
    """

    fixed: float
    prompt: float
    completion: float
    context: float
    per_wh: float = 0.0

    def of(self, prompt: float, answer: float) -> float:
        """Grams of a request with so many tokens."""
        look_back = self.context * (prompt + answer / 2)
        return (
            self.fixed + self.prompt * prompt + (self.completion + look_back) * answer
        )


class TokenPrices(NamedTuple):
    """Money per token; `cached` is of a prompt token that the provider has read before."""

    prompt: float
    completion: float
    cached: float

    def of(self, prompt: float, answer: float) -> float:
        """The price of a request with so many tokens."""
        return self.prompt * prompt + self.completion * answer


# Base and slope of the grams, base and slope of the price. A plain tuple: it is unpacked for every candidate
# of every decision, and a named one takes twice as long.
Line = tuple[float, float, float, float]

# Added to each term, so that a free one does not make a product 0, and a difference that nobody could notice
# decides nothing: a tenth of a microgram, a ten-millionth of the currency.
LEAST_G, LEAST_PRICE = 1e-7, 1e-7
UNKNOWN = nan


def line(grams: Grams | None, prices: TokenPrices | None, answer: float) -> Line:
    """The two lines for an answer of that length; UNKNOWN where nothing is known."""
    base = slope = price_base = price_slope = UNKNOWN
    if grams is not None:
        fixed, prompt, completion, context, _ = grams
        base = fixed + (completion + context * answer / 2) * answer + LEAST_G
        slope = prompt + context * answer
    if prices is not None:
        price_slope, completion_price, _ = prices
        price_base = completion_price * answer + LEAST_PRICE
    return base, slope, price_base, price_slope
