"""From rows of `[[grid.sources]]` to feeds: each kind has what it needs, or says what it lacks."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from lowproxy.config.credentials import FileSecret, from_environ
from lowproxy.config.rows import GridRow
from lowproxy.core.grid_kinds import KINDS, GridKind
from lowproxy.core.grid_reading import MARGINAL
from lowproxy.core.secret import Secret


@attrs.frozen
class FeedConfig:
    """One live source, ready to be asked. Times are in seconds."""

    kind: str
    label: str
    factor: str  # of its readings: lifecycle | direct
    url: str  # without a slash at the end; "" for a file
    path: Path | None
    token: Secret | None
    zones: Mapping[str, str]  # to the source's own names; empty: all that it holds
    refresh_s: float
    max_age_s: float
    timeout_s: float
    signal: str = "average"  # or marginal: for ranking alone


def read_feeds(
    rows: Iterable[GridRow], environ: Mapping[str, str], folder: Path
) -> tuple[tuple[FeedConfig, ...], list[str]]:
    """The feeds, and what is wrong with rows; relative files are in `folder`."""
    feeds: list[FeedConfig] = []
    problems: list[str] = []
    for i, row in enumerate(rows):
        token, wrong = _token(row, environ, folder)
        wrong += _mistakes(row, KINDS[row.kind])
        problems += [f"grid.sources[{i}]{each}" for each in wrong]
        if not wrong:
            feeds.append(_feed(row, KINDS[row.kind], token, folder))
    if len({each.factor for each in feeds if each.signal == MARGINAL}) > 1:
        problems.append(
            "grid.sources: found marginal rows of both factors, which do not compare;"
            ' needs factor = "lifecycle" or factor = "direct" in all of them'
        )
    return tuple(feeds), problems


def _feed(
    row: GridRow, kind: GridKind, token: Secret | None, folder: Path
) -> FeedConfig:
    zones = row.zones or ({kind.only: ""} if kind.only else {})
    return FeedConfig(
        kind=row.kind,
        label=f"{kind.label}-marginal" if row.signal == MARGINAL else kind.label,
        factor=row.factor,
        url=row.url or kind.url or "",
        path=folder / row.path if row.path else None,
        token=token,
        zones={
            zone: name or kind.name_of(zone) or zone for zone, name in zones.items()
        },
        refresh_s=row.refresh_s or kind.refresh_s,
        max_age_s=row.max_age_s or kind.max_age_s,
        timeout_s=row.timeout_s,
        signal=row.signal,
    )


def _token(
    row: GridRow, environ: Mapping[str, str], folder: Path
) -> tuple[Secret | None, list[str]]:
    """The credential, and `.option: mistake` where there should be another."""
    if row.token_env and row.token_file:
        return None, [": found both of token_env and token_file, needs one of them"]
    try:
        if row.token_env:
            return Secret(from_environ(row.token_env, environ)), []
    except ValueError as exc:
        return None, [f".token_env: {exc}"]
    try:
        if row.token_file:
            return FileSecret(folder / row.token_file), []
    except ValueError as exc:
        return None, [f".token_file: {exc}"]
    if KINDS[row.kind].token:
        return None, [f'.token_env: missing; kind "{row.kind}" answers nobody without']
    return None, []


def _mistakes(row: GridRow, kind: GridKind) -> list[str]:
    return [
        *_place(row, kind),
        *_zones(row, kind),
        *_factor(row, kind),
        *_signal(row, kind),
    ]


def _place(row: GridRow, kind: GridKind) -> Iterator[str]:
    if row.kind == "file":
        if not row.path:
            yield '.path: missing; kind "file" reads one'
        if row.url:
            yield '.url: kind "file" has none; it has a path'
    else:
        if row.path:
            yield f'.path: kind "{row.kind}" has none; only kind "file" has'
        if not (row.url or kind.url):
            yield f'.url: missing; kind "{row.kind}" is a service of your own'


def _zones(row: GridRow, kind: GridKind) -> Iterator[str]:
    if kind.only:
        for zone in row.zones or ():
            if zone != kind.only:
                yield f'.zones: found {zone}, and kind "{row.kind}" knows {kind.only} only'
    elif not row.zones and not kind.open_ended:
        yield f'.zones: missing; kind "{row.kind}" is asked for each by name'
    for zone, name in (row.zones or {}).items():
        if not (name or kind.only or kind.name_of(zone)):
            right = f'{{ "{zone}" = "what it is called there" }}'
            yield f'.zones: kind "{row.kind}" has no known name for {zone}; needs {right}'


def _signal(row: GridRow, kind: GridKind) -> Iterator[str]:
    if row.signal == MARGINAL and not kind.marginal:
        holders = ", ".join(name for name, each in KINDS.items() if each.marginal)
        yield f'.signal: kind "{row.kind}" tells averages only; marginal may be {holders}'


def _factor(row: GridRow, kind: GridKind) -> Iterator[str]:
    if row.factor == "direct" and not kind.direct:
        yield f'.factor: kind "{row.kind}" is worked out with life cycle factors only'
