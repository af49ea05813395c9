"""A routing trace as the books keep it: the same facts in a third of the room.

Of candidates there are columns, not rows: each name is written once, and a value that all share once too.
Rejections stand under their rule and reason. Whoever is named again is named by position.
Of a large pool the best are kept, and how many are left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# In a row only where there is something to say.
_OPTIONAL = frozenset({"marginal_g", "resting"})
# Objects that are kept as their values, where they have these members and no others.
_NAMES = {
    "scale": ("name", "carbon", "latency", "price"),
    "expected": ("prompt_tokens", "completion_tokens"),
}
# What the choice and the default repeat of their rows.
_SHORT = ("candidate", "carbon_g", "energy_wh", "price")

# So that a record of any pool has its bounds: about two kilobytes.
MOST_CANDIDATES, MOST_REJECTED = 12, 24

Places = Mapping[str, int]  # of candidates, by id


def places_of(told: Mapping[str, Any]) -> Places:
    """Where each candidate that is kept stands in a trace."""
    rows = told.get("candidates", ())[:MOST_CANDIDATES]
    return {row["candidate"]: i for i, row in enumerate(rows)}


def kept_decision(told: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """What requests that share a decision have in common: all but `attempts` and `answered`."""
    rows, rejected = told.get("candidates", ()), told.get("rejected", ())
    cut = max(0, len(rows) - MOST_CANDIDATES) + max(0, len(rejected) - MOST_REJECTED)
    rows = rows[:MOST_CANDIDATES]
    kept = {k: v for k, v in told.items() if k not in ("attempts", "answered")}
    kept["candidates"] = _columns(rows)
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in rejected[:MOST_REJECTED]:
        reasons.setdefault((each["rule"], each["reason"]), []).append(each["candidate"])
    kept["rejected"] = [[*why, ids] for why, ids in reasons.items()]
    if cut:
        kept["left_out"] = told.get("left_out", 0) + cut
    for name, names in _NAMES.items():
        if name in told and tuple(told[name]) == names:
            kept[name] = list(told[name].values())
    if "choice" in told:
        choice = dict(told["choice"])
        reason = choice.pop("reason")
        kept["choice"] = [_place(choice, rows, places), reason]
        kept["default"] = _place(told["default"], rows, places)
    return kept


def kept_attempts(told: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """The rest: what became of this one request."""
    kept: dict[str, Any] = {
        "attempts": [
            [places.get(id_, id_), each["outcome"], each["duration_ms"]]
            for each in told.get("attempts", ())
            for id_ in (each["candidate"],)
        ]
    }
    if "answered" in told:
        kept["answered"] = places.get(told["answered"], told["answered"])
    return kept


def read_trace(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The trace again, from `kept_decision` and `kept_attempts` together.

    Rejections come back by rule; one that was kept whole comes back as it is. Attempts whose decision is lost
    name positions in nothing: then there is no trace.
    """
    told = dict(kept)
    if not isinstance(kept.get("candidates"), dict):
        is_lost = "candidates" not in kept and isinstance(kept.get("attempts"), list)
        return {} if is_lost else told
    for name, names in _NAMES.items():
        if isinstance(kept.get(name), list):
            told[name] = dict(zip(names, kept[name], strict=True))
    rows = told["candidates"] = _rows(kept["candidates"])
    ids = [row["candidate"] for row in rows]
    told["rejected"] = [
        {"candidate": id_, "rule": rule, "reason": reason}
        for rule, reason, rejected in kept["rejected"]
        for id_ in rejected
    ]
    if "choice" in kept:
        place, reason = kept["choice"]
        told["choice"] = _short(place, rows) | {"reason": reason}
        told["default"] = _short(kept["default"], rows)
    told["attempts"] = [
        {"candidate": _id(place, ids), "outcome": outcome, "duration_ms": took_ms}
        for place, outcome, took_ms in kept["attempts"]
    ]
    if "answered" in kept:
        told["answered"] = _id(kept["answered"], ids)
    return told


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns: dict[str, Any] = {"candidate": [row["candidate"] for row in rows]}
    ends = [f"/{row['model']}" for row in rows]
    if rows and all(map(str.endswith, columns["candidate"], ends)):
        ids = columns.pop("candidate")
        columns["at"] = list(map(str.removesuffix, ids, ends))
    for name in dict.fromkeys(name for row in rows for name in row):
        if name != "candidate":
            values = [row.get(name) for row in rows]
            is_one = values.count(values[0]) == len(values)
            columns[name] = values[0] if is_one else values
    return columns


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    at = columns.get("at", columns.get("candidate"))
    assert at is not None, "one of both is always kept"
    rows: list[dict[str, Any]] = [{"candidate": id_} for id_ in at]
    for name, values in columns.items():
        if name in ("at", "candidate"):
            continue
        for i, row in enumerate(rows):
            value = values[i] if isinstance(values, list) else values
            if value is not None or name not in _OPTIONAL:
                row[name] = value
    if "at" in columns:
        for row in rows:
            row["candidate"] += f"/{row['model']}"
    return rows


def _place(
    short: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], places: Places
) -> int | Mapping[str, Any]:
    """Where it stands, if its row says the same of it."""
    place = places.get(short["candidate"])
    if place is None or any(rows[place].get(k) != v for k, v in short.items()):
        return short
    return place


def _short(
    place: int | Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    if not isinstance(place, int):
        return dict(place)
    row = rows[place]
    return {name: row[name] for name in _SHORT if name in row}


def _id(place: int | str, ids: Sequence[str]) -> str:
    return ids[place] if isinstance(place, int) else place
