"""Which row of the eco tables a model's name means.

Names reach us in many spellings: `openai/gpt-4o-2024-11-20`, a Hugging Face id, a
provider's own short name with `:free` behind it. A name is tried as it stands, then
without its namespace, then without suffixes that do not change the size; last, a size
may stand in the name itself. What is still unknown stays unknown: there is no average
model.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import attrs

from lowproxy.core.eco import Deployment, ModelFacts

# Endings that leave the architecture as it is: dates, releases, tunings, offers.
_SUFFIX = re.compile(
    r"[-:@](?:\d{4}-\d{2}-\d{2}|20\d{6}|\d{4}|\d{2}-20\d{2}|latest|free|preview|exp"
    r"|instruct|chat|it|thinking|reasoning|base|hf|maas|tee"
    r"|(?:fp8|fp4|nvfp4|mxfp4|int8|int4|4bit|8bit|awq|gptq|w4a16|w8a8|bf16|fp16)"
    r"(?:-v\d|-kv)?"
    r"|quantized\.(?:w4a16|w8a8|w8a16)|dynamic|block|bnb|autoround)$"
)
# These do so only behind a size: gpt-4-turbo is not gpt-4.
_SIZED_SUFFIX = re.compile(r"(\d[bB][^/]*)[-:@](?:turbo|versatile|instant|fast|lite)$")
_BITS = {
    "fp8": 8.0,
    "int8": 8.0,
    "8bit": 8.0,
    "w8a8": 8.0,
    "w8a16": 8.0,
    "fp4": 4.5,
    "nvfp4": 4.5,
    "mxfp4": 4.25,
    "int4": 4.25,
    "4bit": 4.25,
    "awq": 4.25,
    "gptq": 4.25,
    "w4a16": 4.25,
    "bf16": 16.0,
    "fp16": 16.0,
}
_EXPERTS = re.compile(r"(?<![a-z0-9.])(\d+)x(\d+(?:\.\d+)?)b(?![a-z0-9])")
_ACTIVE = re.compile(r"(?<![a-z0-9.])a(\d+(?:\.\d+)?)b(?![a-z0-9])")
_TOTAL = re.compile(r"(?<![a-z0-9.])e?(\d+(?:\.\d+)?)(b|m)(?![a-z0-9])")

SIZE_FROM_NAME = "size-from-name"


@attrs.frozen
class ModelTable:
    """The sizes of models, found by any spelling of their names."""

    _rows: Mapping[str, ModelFacts]  # by whole id, lower case
    _short: Mapping[str, ModelFacts]  # by id without namespace, where that is unique

    @classmethod
    def build(
        cls, open_weights: Mapping[str, Any], ecologits: Mapping[str, Any]
    ) -> Self:
        """From the two parsed data files; a row of ours goes before EcoLogits' own."""
        rows = {name.lower(): facts for name, facts in _ecologits_rows(ecologits)}
        rows.update(_open_rows(open_weights))
        return cls(_with_bare_names(rows), _short_names(rows))

    def facts(
        self, model_id: str, upstream_model: str | None = None
    ) -> ModelFacts | None:
        """What is known of a model by its id, else by what its provider calls it.

        None where the size is unknown. Both names are tried in the tables before a
        size is read from either.
        """
        names = [name.lower() for name in (model_id, upstream_model) if name]
        for search in (self._listed, _from_name):
            for name in names:
                if (found := search(name)) is not None:
                    return found
        return None

    def _listed(self, name: str) -> ModelFacts | None:
        for spelling in _spellings(name):
            found = self._rows.get(spelling) or self._short.get(spelling.split("/")[-1])
            if found is not None:
                return _at_precision(found, name[len(spelling) :])
        return None


def _spellings(name: str) -> Iterator[str]:
    """The name, then with one harmless ending after another taken off."""
    while True:
        yield name
        shorter = _SIZED_SUFFIX.sub(r"\1", _SUFFIX.sub("", name))
        if shorter == name or not shorter:
            return
        name = shorter


def _at_precision(facts: ModelFacts, ending: str) -> ModelFacts:
    bits = _named_bits(ending)
    return facts if bits is None else attrs.evolve(facts, weight_bits=bits)


def _named_bits(name: str) -> float | None:
    words = re.split(r"[-:@_/.]", name.lower())
    return next((_BITS[word] for word in reversed(words) if word in _BITS), None)


def _from_name(name: str) -> ModelFacts | None:
    """Facts read from a size in the name (`-70b`, `-30b-a3b`, `8x7b`): gross."""
    base = name.split("/")[-1].replace("_", "-")
    total = active = None
    if experts := _EXPERTS.search(base):
        total = int(experts[1]) * float(experts[2])
        active = 2 * float(experts[2])
    elif size := _TOTAL.search(base):
        total = float(size[1]) / (1 if size[2] == "b" else 1000)
    if found := _ACTIVE.search(base):
        active = float(found[1])
    if not total:
        return None
    active = min(active or total, total)
    bits = _named_bits(base) or 16.0
    return ModelFacts(total, active, bits, name=name, notes=(SIZE_FROM_NAME,))


def _open_rows(data: Mapping[str, Any]) -> dict[str, ModelFacts]:
    rows = {}
    for name, row in data["models"].items():
        facts = ModelFacts(
            total_params_b=row["total"],
            active_params_b=row.get("active", row["total"]),
            weight_bits=row.get("bits"),
            source=row["source"],
            name=name,
            kv_kb=row.get("kv_kb"),
            experts=_experts(row),
            encoder=row.get("encoder", False),
        )
        for spelling in (name, *row.get("aliases", ())):
            rows[spelling.lower()] = facts
    return rows


def _experts(row: Mapping[str, Any]) -> tuple[int, int] | None:
    if (experts := row.get("experts")) is None:
        return None
    used, count = experts
    return used, count


def _ecologits_rows(data: Mapping[str, Any]) -> Iterator[tuple[str, ModelFacts]]:
    providers = data["providers"]
    for name, row in data["models"].items():
        yield name, _ecologits_facts(name, row, providers[row["provider"]])
    for alias, name in data["aliases"].items():
        row = data["models"][name]
        yield alias, _ecologits_facts(name, row, providers[row["provider"]])


def _ecologits_facts(
    name: str, row: Mapping[str, Any], provider: Mapping[str, Any]
) -> ModelFacts:
    total, total_low, total_high = _middle(row["total"])
    active, active_low, active_high = _middle(row.get("active", row["total"]))
    pue, wue = _middle(provider["pue"]), _middle(provider["wue"])
    return ModelFacts(
        total_params_b=total,
        active_params_b=active,
        source=row["source"],
        name=name,
        total_low_b=total_low,
        total_high_b=total_high,
        active_low_b=active_low,
        active_high_b=active_high,
        deployment=Deployment(
            row.get("tps"),
            row.get("ttft"),
            pue[1] or pue[0],
            pue[2] or pue[0],
            wue[1] or wue[0],
            wue[2] or wue[0],
        ),
        notes=tuple(row.get("notes", ())),
    )


def _middle(value: Any) -> tuple[float, float | None, float | None]:
    """Middle, low and high of a number or a [low, high]; no ends for a number."""
    if isinstance(value, list):
        low, high = value
        return (low + high) / 2, low, high
    return value, None, None


def _with_bare_names(rows: Mapping[str, ModelFacts]) -> dict[str, ModelFacts]:
    """The rows, and each by its name without harmless endings where that is free."""
    bare = _unambiguous((list(_spellings(name))[-1], f) for name, f in rows.items())
    return {**bare, **rows}


def _short_names(rows: Mapping[str, ModelFacts]) -> dict[str, ModelFacts]:
    """Names without namespace, as far as they mean one size only."""
    return _unambiguous(
        (name.split("/")[-1], f) for name, f in _with_bare_names(rows).items()
    )


def _unambiguous(rows: Iterable[tuple[str, ModelFacts]]) -> dict[str, ModelFacts]:
    """The rows whose name means one size only; the best sourced one of several."""
    found: dict[str, ModelFacts] = {}
    doubtful = set()
    for name, facts in rows:
        other = found.setdefault(name, facts)
        if _size(other) != _size(facts):
            doubtful.add(name)
        elif other.weight_bits is None and facts.weight_bits is not None:
            found[name] = facts
    return {name: facts for name, facts in found.items() if name not in doubtful}


def _size(facts: ModelFacts) -> tuple[object, ...]:
    return facts.total_range_b, facts.active_range_b
