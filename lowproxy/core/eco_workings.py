"""What lies between a model's facts and the accelerators' energy, one sum after another.

For people: `lowproxy eco estimate` prints it, and a pocket calculator can follow it. The
methods themselves compute rates instead; a test holds the two together.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import attrs

from lowproxy.core import eco_ecologits as ecologits
from lowproxy.core import eco_hardware as hardware
from lowproxy.core import eco_roofline as roofline
from lowproxy.core import eco_v04 as v04
from lowproxy.core.eco import Method, ModelFacts
from lowproxy.core.usage import Usage


@attrs.frozen
class Working:
    """One sum: its name, its result, and how it is made, in numbers."""

    name: str
    value: float
    unit: str
    how: str


def workings(method: Method, facts: ModelFacts, usage: Usage) -> tuple[Working, ...]:
    """The sums of an estimate's central value, in order, up to its GPUs' Wh.

    Where a method takes the mean of a range's two ends, both are there, low end first.
    """
    return tuple(_WORKINGS[method.name](facts, usage))


def _roofline(facts: ModelFacts, usage: Usage) -> Iterator[Working]:
    active, bits = facts.active_params_b, facts.weight_bits or roofline.BITS
    batch, answer = roofline.BATCH, usage.completion
    e_out = 0.0
    if not facts.encoder:
        touched = roofline.touched_gb(
            facts.total_params_b, active, bits, batch, facts.experts
        )
        how = _touched_how(facts, bits)
        if facts.weight_bits is None:
            how += f": precision not published, taken as {bits:g} bits"
        yield Working("touched", touched, "GB", how)
        kv = roofline.kv_gb(facts, active)
        yield Working("kv", kv, "GB per token of context", _kv_how(facts))
        weights = roofline.BYTES_MWH * touched / batch
        how = f"{roofline.BYTES_MWH} x touched / {batch}"
        yield Working("e_weights", weights, "mWh", how)
        context = roofline.KV_MWH * kv * (usage.prompt + answer / 2)
        how = f"{roofline.KV_MWH} x kv x ({usage.prompt} + {answer} / 2)"
        yield Working("e_context", context, "mWh", how)
        e_out = weights + context + roofline.ACTIVE_MWH * active + roofline.TOKEN_MWH
        rest = f"{roofline.ACTIVE_MWH} x {active:g} + {roofline.TOKEN_MWH}"
        how = f"e_weights + e_context + {rest}"
        yield Working("e_out", e_out, "mWh per output token", how)
    e_in = roofline.PREFILL_MWH * active
    how = f"{roofline.PREFILL_MWH} x {active:g}"
    yield Working("e_in", e_in, "mWh per prompt token", how)
    fresh, share = usage.prompt - usage.cached, roofline.CACHED_SHARE
    read = e_in * (fresh + share * usage.cached)
    how = f"e_in x ({usage.prompt} - {usage.cached} + {share} x {usage.cached})"
    yield Working("read", read, "mWh", how)
    if facts.encoder:
        yield Working("gpu_wh", read / 1000, "Wh", "read / 1000: an encoder only reads")
        return
    how = f"(e_out x {answer} + read) / 1000"
    yield Working("gpu_wh", (e_out * answer + read) / 1000, "Wh", how)


def _touched_how(facts: ModelFacts, bits: float) -> str:
    total, active = facts.total_params_b, facts.active_params_b
    if active >= total:
        return f"{total:g} x {bits:g} / 8"
    used, count = facts.experts or (active, total)
    share = f"{used:g} / {count:g}"
    routed = f"min(({total:g} - {active:g}) / (1 - {share}), {total:g})"
    return f"({total:g} - {routed} x (1 - {share})^{roofline.BATCH}) x {bits:g} / 8"


def _kv_how(facts: ModelFacts) -> str:
    if facts.kv_kb is not None:
        return f"{facts.kv_kb:g} kB / 1e6, from the model's layers"
    kb, power = roofline.KV_KB, roofline.KV_POWER
    return f"{kb:g} kB x {facts.active_params_b:g}^{power} / 1e6: layers not published"


def _ecologits(facts: ModelFacts, usage: Usage) -> Iterator[Working]:
    totals, actives = facts.total_range_b, facts.active_range_b
    if totals[0] == totals[1] and actives[0] == actives[1]:
        yield from _ecologits_end(facts, usage, totals[0], actives[0])
        return
    ends = []
    for ending, total, active in zip(("_low", "_high"), totals, actives, strict=True):
        for sum_ in _ecologits_end(facts, usage, total, active, ending):
            ends.append(sum_)
            yield sum_
    for name in ("gpu_wh", "server_wh"):
        both = [sum_.value for sum_ in ends if sum_.name.startswith(name)]
        yield Working(name, sum(both) / 2, "Wh", f"({name}_low + {name}_high) / 2")


def _ecologits_end(
    facts: ModelFacts, usage: Usage, total: float, active: float, ending: str = ""
) -> Iterator[Working]:
    answer, known = usage.completion, facts.deployment
    gpus = hardware.gpu_count(total * ecologits.WEIGHT_BYTES)
    weights = f"{hardware.MEMORY_MARGIN} x {total:g} x {ecologits.WEIGHT_BYTES}"
    how = f"{weights} / {hardware.GPU_MEMORY_GB}, up to a power of two"
    yield Working("gpus" + ending, gpus, "", how)
    power = ecologits.BETA * hardware.BATCH
    token_wh = ecologits.ALPHA * math.exp(power) * active + ecologits.GAMMA
    per_gpu = (
        f"{ecologits.ALPHA} x e^({ecologits.BETA} x {hardware.BATCH}) x {active:g}"
    )
    how = f"gpus{ending} x ({per_gpu} + {ecologits.GAMMA}) x {answer}"
    yield Working("gpu_wh" + ending, gpus * token_wh * answer, "Wh", how)
    measured = known.tokens_per_s if known else None
    per_b, per_request, fixed = hardware.LATENCY_S
    how = f"{per_b} x {active:g} + {per_request} x {hardware.BATCH} + {fixed}"
    if measured:
        how = f"1 / {measured:g}, as measured"
    token_s = hardware.token_s(active, measured)
    yield Working("token_s" + ending, token_s, "s", how)
    first_s = (known.first_token_s if known else None) or 0.0
    server = hardware.server_wh_per_s(gpus) * (first_s + token_s * answer)
    shared = f"gpus{ending} / {hardware.SERVER_GPUS} / {hardware.BATCH}"
    taken = f"({first_s:g} + token_s{ending} x {answer})"
    how = f"{hardware.SERVER_KW} / 3.6 x {shared} x {taken}"
    yield Working("server_wh" + ending, server, "Wh", how)


def _v04_compat(facts: ModelFacts, usage: Usage) -> Iterator[Working]:
    active = facts.active_params_b
    token = v04.ALPHA * active + v04.BETA
    how = f"{v04.ALPHA} x {active:g} + {v04.BETA}"
    yield Working("e_token", token, "Wh per token", how)
    how = f"e_token x ({usage.prompt} + {usage.completion})"
    yield Working("gpu_wh", token * usage.total, "Wh", how)


# By the method's short name.
_WORKINGS: Mapping[str, Callable[[ModelFacts, Usage], Iterator[Working]]] = {
    "roofline": _roofline,
    "ecologits": _ecologits,
    "v0.4-compat": _v04_compat,
}
