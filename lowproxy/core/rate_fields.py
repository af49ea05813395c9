"""`x-ratelimit-*`: what is left of a key's rates, under OpenAI's names and in its way of writing."""

from math import floor  # of a float in a third of the time that `int` takes

from lowproxy.core.limits import Rates

# Rounds up: nobody is told to come back too early.
_UP = 0.999
# Each request of a key with limits tells two of these: writing one costs twice looking it up.
_MS = tuple(f"{ms}ms" for ms in range(1001))
_HUNDREDTHS = tuple(f".{part:02}".rstrip("0").rstrip(".") + "s" for part in range(100))


def rate_lines(rates: Rates) -> str:
    """`x-ratelimit-*` of the limits that the key has, as the lines of a head."""
    limits, left, tokens_left = rates
    text = ""
    if limits.requests_per_minute is not None:
        away_ms = (limits.most_requests - left) * limits.ms_per_request
        reset = _MS[floor(away_ms + _UP)] if away_ms < 1000.0 else _span(away_ms / 1000)
        here = floor(left) if left > 0.0 else 0
        text = (
            f"{limits.told_requests}{here}\r\nx-ratelimit-reset-requests: {reset}\r\n"
        )
    if limits.tokens_per_minute is not None:
        away_ms = (limits.most_tokens - tokens_left) * limits.ms_per_token
        reset = _MS[floor(away_ms + _UP)] if away_ms < 1000.0 else _span(away_ms / 1000)
        here = floor(tokens_left) if tokens_left > 0.0 else 0
        text += f"{limits.told_tokens}{here}\r\nx-ratelimit-reset-tokens: {reset}\r\n"
    return text


def _span(seconds: float) -> str:
    """A duration of a second or more as OpenAI writes it: `8.64s`, `6m0s`; shorter ones are `120ms`."""
    if seconds < 60.0:
        hundredths = floor(seconds * 100 + 0.5)
        return f"{hundredths // 100}{_HUNDREDTHS[hundredths % 100]}"
    minutes, rest = divmod(floor(seconds + _UP), 60)
    return f"{minutes}m{rest}s"
