"""`x-ratelimit-*`: what is left of a key's rates, under OpenAI's names and in its way of writing."""

from lowproxy.core.limits import Rates
from lowproxy.core.meters import MINUTE_S

# Rounds up: nobody is told to come back too early.
_UP = 0.999
# Each request of a key with limits tells two of these, nearly always: writing one costs twice looking it up.
_MS = tuple(f"{ms}ms" for ms in range(1001))


def rate_fields(rates: Rates) -> tuple[tuple[str, str], ...]:
    """`x-ratelimit-*` of the limits that the key has."""
    limits, left, tokens_left = rates
    most, most_tokens = limits.requests_per_minute, limits.tokens_per_minute
    fields: tuple[tuple[str, str], ...] = ()
    if most is not None:
        away_s = (most - left) * MINUTE_S / most
        fields = (
            limits.told_requests,
            ("x-ratelimit-remaining-requests", f"{int(left)}" if left > 0 else "0"),
            (
                "x-ratelimit-reset-requests",
                _MS[int(away_s * 1000 + _UP)] if away_s < 1 else _span(away_s),
            ),
        )
    if most_tokens is not None:
        away_s = (most_tokens - tokens_left) * MINUTE_S / most_tokens
        here = f"{int(tokens_left)}" if tokens_left > 0 else "0"
        fields += (
            limits.told_tokens,
            ("x-ratelimit-remaining-tokens", here),
            (
                "x-ratelimit-reset-tokens",
                _MS[int(away_s * 1000 + _UP)] if away_s < 1 else _span(away_s),
            ),
        )
    return fields


def _span(seconds: float) -> str:
    """A duration of a second or more as OpenAI writes it: `8.64s`, `6m0s`; shorter ones are `120ms`."""
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(int(seconds + _UP), 60)
    return f"{minutes}m{rest}s"
