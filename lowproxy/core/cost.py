"""What an answer costs: whole nano-units of one currency, out of prices per million tokens.

Money is never a float here. A price such as 0.15 is taken for the decimal that it reads as, and a cost is
rounded once, half to even, at the end: the same to the last digit as the sum in decimal arithmetic.
"""

from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import NamedTuple

from lowproxy.core.usage import Usage

NANO = 1_000_000_000
_TOKENS = 1_000_000  # that a price is for


class Prices(NamedTuple):
    """Nano-units of the billing currency per token, all over one denominator: `prompt / per` and so on."""

    prompt: int
    cached: int
    completion: int
    reasoning: int
    per: int
    currency: str  # the billing currency

    def cost_nano(self, usage: Usage) -> int:
        """What these tokens cost, in nano-units; half a nano-unit goes to the even one."""
        prompt, completion, cached, reasoning, _ = usage
        each, each_cached, each_completion, each_reasoning, per, _ = self
        total = prompt * each + completion * each_completion
        if cached or reasoning:
            total += cached * (each_cached - each)
            total += reasoning * (each_reasoning - each_completion)
        whole = total // per
        twice = (total - whole * per) * 2
        if twice > per or (twice == per and whole & 1):
            whole += 1
        return whole

    def most_nano(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The most that so many tokens can cost, whatever of them is cached or reasoning."""
        total = prompt_tokens * max(self.prompt, self.cached)
        total += completion_tokens * max(self.completion, self.reasoning)
        return -(-total // self.per)


def prices(
    prompt: float,
    completion: float,
    cached: float | None = None,
    reasoning: float | None = None,
    rate: Decimal = Decimal(1),
    currency: str = "USD",
) -> Prices:
    """Prices per million tokens in a provider's currency, of which one unit is `rate` in the billing `currency`.

    Cached tokens cost what others of the prompt do where nothing else is said, and reasoning tokens what
    others of the completion do.
    """
    said = (
        prompt,
        prompt if cached is None else cached,
        completion,
        completion if reasoning is None else reasoning,
    )
    exact = [Fraction(decimal(each)) * Fraction(rate) * NANO / _TOKENS for each in said]
    per = lcm(*(each.denominator for each in exact))
    first, second, third, fourth = (int(each * per) for each in exact)
    return Prices(first, second, third, fourth, per, currency)


def decimal(value: float) -> Decimal:
    """The decimal that a float of the configuration reads as: 0.1 is a tenth."""
    return Decimal(repr(value))


def nano(value: float) -> int:
    """An amount of money in whole nano-units, rounded down."""
    return int(decimal(value) * NANO)


def money(amount_nano: int) -> str:
    """An amount as people write it: `0.00042`, without zeros at the end and never with an exponent."""
    if 0 < amount_nano < NANO:
        return "0." + str(amount_nano).zfill(9).rstrip("0")
    if amount_nano <= 0:
        return "-" + money(-amount_nano) if amount_nano else "0"
    text = str(amount_nano)
    whole, part = text[:-9], text[-9:].rstrip("0")
    return f"{whole}.{part}" if part else whole
