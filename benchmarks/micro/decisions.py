"""One routing decision by itself: over ten candidates, and over two hundred of which twenty may serve.

The must is 15 units for the one and 200 for the other, without a memory of earlier decisions. All
candidates have a price and a size, as in a catalogue that is well kept; the second pool is narrowed by the
request's pin.
"""

from collections.abc import Mapping
from functools import partial

import attrs

from benchmarks.micro.stages import UNIT_BODY, Stage
from lowproxy.core.access import ApiKey
from lowproxy.core.chat import ChatRequest
from lowproxy.core.expected import Grams
from lowproxy.core.preferences import Preferences
from lowproxy.core.routing import Memo, decide
from lowproxy.core.upstreams import Candidate, Endpoint, Model, Pool, Provider

_KEY = ApiKey("bench", "sha256:0")


def decisions() -> list[Stage]:
    """The decisions, each with a memory and without."""
    ten, many = pool_of(10, 1), pool_of(200, 10)
    chat = ChatRequest.parse(UNIT_BODY)
    (asked,) = ten.by_model
    chat = attrs.evolve(chat, models=(asked,))
    pinned = attrs.evolve(chat, preferences=Preferences(region="region-0"))
    auto = attrs.evolve(chat, models=("lowrouter/auto",))
    limited = attrs.evolve(chat, max_tokens=300)
    measured = {c.id: 0.4 + 0.01 * n for n, c in enumerate(ten.by_model[asked])}
    none: Mapping[str, float] = {}
    rows = (
        ("10 candidates", chat, ten, none),
        ("10 candidates, latencies known", chat, ten, measured),
        ("10 candidates, max_tokens set", limited, ten, none),
        ("10 candidates, lowrouter/auto", auto, ten, none),
        ("200 candidates, 20 eligible", pinned, many, none),
    )
    found = []
    for name, request, pool, latencies in rows:
        plain = partial(decide, request, _KEY, pool, latencies=latencies)
        remembered = partial(plain, memo=Memo())
        found.append(Stage(f"decide: {name}", "request", plain))
        found.append(Stage(f"decide: {name}, remembered", "request", remembered))
    return found


def pool_of(count: int, regions: int) -> Pool:
    """One model at so many places, spread over the regions; no two alike."""
    model = "acme/small"
    return Pool(
        {model: tuple(_place(n, regions, model) for n in range(count))}, (model,)
    )


def _place(number: int, regions: int, model: str) -> Candidate:
    name, region = f"p{number}", f"region-{number % regions}"
    endpoint = Endpoint(f"{name}-1", Provider(name), region, "http://127.0.0.1", "FR")
    prompt, completion = 0.1 + number * 0.01, 0.4 + number * 0.03
    row = Model(
        model, name, "small", 128_000, price_prompt=prompt, price_completion=completion
    )
    each = 1e-5 * (1 + number * 0.1)
    return Candidate(row, endpoint, 0.1, 0.001, Grams(0.0, each, 4 * each, each / 1e4))
