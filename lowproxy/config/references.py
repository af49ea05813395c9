"""Names that refer to rows: whether they do, and whether a name means one thing only.

Every function gives one line per mistake, with the path of the option that it is in.
"""

from collections.abc import Iterable, Mapping, Sequence

from lowproxy.config.merging import MergedModel, MergedProvider
from lowproxy.config.reading import did_you_mean
from lowproxy.core.access import ApiKey
from lowproxy.core.upstreams import PSEUDO_MODELS

DEMO_ID = "demo"


def found_twice(ids: Sequence[str]) -> list[str]:
    """Endpoint ids name candidates in traces and in health, so they must differ."""
    return [
        f"providers: found the endpoint id {name!r} twice, needs another"
        for name in dict.fromkeys(ids)
        if ids.count(name) > 1
    ]


def model_problems(
    models: Iterable[MergedModel], providers: Mapping[str, MergedProvider]
) -> list[str]:
    """Models of the operator's that nobody serves, or whose sizes contradict each other."""
    problems = []
    for merged in models:
        row, path = merged.row, merged.path
        if path is None:
            continue
        if row.served_by is None:
            problems.append(f"{path}.provider: missing, and the id names none")
        elif row.served_by not in providers:
            near = did_you_mean(row.served_by, providers)
            problems.append(
                f"{path}.provider: no such provider {row.served_by!r}{near}"
            )
        total, active = row.total_params_b, row.active_params_b
        if active and not total:
            problems.append(f"{path}.total_params_b: missing beside active_params_b")
        elif active and total and active > total:
            right = f"no more than total_params_b ({total:g})"
            problems.append(f"{path}.active_params_b: found {active:g}, needs {right}")
    return problems


def auto_problems(auto: Sequence[str], ids: set[str]) -> list[str]:
    """Models of `[auto]` that there are not."""
    return [
        f"auto.models[{i}]: no such model {name!r}{did_you_mean(name, ids)}"
        for i, name in enumerate(auto)
        if name not in ids
    ]


def alias_problems(aliases: Mapping[str, Sequence[str]], ids: set[str]) -> list[str]:
    """Aliases that hide a model, or lead to none."""
    problems = []
    for alias, targets in aliases.items():
        if alias in ids:
            problems.append(f"aliases.{alias}: is a model's id, needs another name")
        problems += [
            f"aliases.{alias}: no such model {name!r}{did_you_mean(name, ids)}"
            for name in targets
            if name not in ids and name not in PSEUDO_MODELS
        ]
    return problems


def key_problems(
    keys: Sequence[ApiKey], providers: Mapping[str, MergedProvider]
) -> list[str]:
    """Providers in keys that there are not."""
    return [
        f"keys[{i}].providers[{j}]: no such provider {name!r}"
        f"{did_you_mean(name, providers)}"
        for i, key in enumerate(keys)
        for j, name in enumerate(key.providers)
        if name not in providers and name != DEMO_ID
    ]
