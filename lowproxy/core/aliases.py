"""Names that are not ids: the operator's aliases, and the bare part of an id where it is unique.

`gpt-4o-mini` is `openai/gpt-4o-mini` as long as nobody else's model has that name. Both tables are made with
the pool; a request that asks for an id never looks at them.
"""

from collections.abc import Iterable, Mapping

from lowproxy.core.access import ApiKey
from lowproxy.core.upstreams import PSEUDO_MODELS, Pool
from lowproxy.errors import UnknownModelError


def bare_names(ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What follows the first slash of an id -> the ids that end so; one of them: the name is unique."""
    names: dict[str, tuple[str, ...]] = {}
    for id_ in ids:
        rest = id_.partition("/")[2]
        if rest:
            names[rest] = (*names.get(rest, ()), id_)
    return names


def served(
    aliases: Mapping[str, tuple[str, ...]], ids: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Aliases without the targets that nobody in use serves; those that lead nowhere are left out."""
    known = {*ids, *PSEUDO_MODELS}
    kept = {
        name: tuple(target for target in targets if target in known)
        for name, targets in aliases.items()
    }
    return {name: targets for name, targets in kept.items() if targets}


def resolved(asked: tuple[str, ...], key: ApiKey, pool: Pool) -> tuple[str, ...]:
    """Ids for what was asked, best first; unknown names stay as they are.

    Of an alias for several models those count that the key may use. Raises UnknownModelError for a bare name
    that several ids end with.
    """
    if len(asked) == 1 and (asked[0] in pool.by_model or asked[0] in PSEUDO_MODELS):
        return asked
    ids: dict[str, None] = {}
    for name in asked:
        if name in pool.by_model:
            ids[name] = None
        else:
            ids.update(dict.fromkeys(meant(name, key, pool)))
    return tuple(ids)


def meant(name: str, key: ApiKey, pool: Pool) -> tuple[str, ...]:
    """The ids that a name stands for, which is itself where it is nobody's alias. Raises UnknownModelError."""
    targets = pool.aliases.get(name)
    if targets is not None:
        allowed = tuple(t for t in targets if t in PSEUDO_MODELS or key.allows_model(t))
        return allowed or targets
    ids = tuple(id_ for id_ in pool.bare.get(name, ()) if key.allows_model(id_))
    if len(ids) > 1:
        raise UnknownModelError(
            f"the model {name[:100]!r} may be any of {', '.join(sorted(ids))}; ask for one of them",
            param="model",
        )
    return ids or (name,)
