"""What `lowproxy eco` prints for people, from the same fields as its `--json`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Text = Callable[[Mapping[str, Any]], Iterator[str]]


def estimate(fields: Mapping[str, Any]) -> Iterator[str]:
    """One derivation: what is assumed, each sum, the figures, where all is from."""
    yield from _assumed(fields)
    yield ""
    how = {each["name"]: each["how"] for each in fields["steps"] + fields["workings"]}
    how["it_wh"] = _of_formula(fields, "it_wh") or how["it_wh"]
    steps = {step["name"] for step in fields["steps"]}
    sums = [each for each in fields["workings"] if each["name"] not in steps]
    rows = [
        (
            each["name"],
            f"{each['value']:.10g} {each['unit']}".rstrip(),
            "= " + how[each["name"]],
        )
        for each in sums + fields["steps"]
    ]
    yield from _columns(rows)
    yield ""
    yield from _columns(
        [("", "LOW", "CENTRAL", "HIGH")]
        + [
            (
                s["name"],
                *(f"{fields[s['name'] + end]:.6g}" for end in ("_low", "", "_high")),
            )
            for s in fields["steps"]
        ]
    )
    yield ""
    yield f"accuracy {fields['accuracy']}" + "".join(f", {n}" for n in fields["notes"])
    yield ""
    yield from _sources(fields)


def comparison(fields: Mapping[str, Any]) -> Iterator[str]:
    """Per model and in all: Wh and grams of both, with bounds, and their ratio."""
    first, second = fields["first"], fields["second"]
    yield f"A {first}, B {second}"
    yield ""
    rows: list[Sequence[str]] = [("MODEL", "REQUESTS", "", "A", "B", "B/A")]
    pairs = sorted(fields["models"].items())
    if fields["total"]["requests"]:
        pairs.append(("total", fields["total"]))
    for name, pair in pairs:
        ratio = f"{pair['ratio']:.4g}" if "ratio" in pair else "-"
        wh = [_bounded(pair[side], "energy_wh") for side in ("first", "second")]
        grams = [_bounded(pair[side], "carbon_g") for side in ("first", "second")]
        rows.append((name, str(pair["requests"]), "Wh", *wh, ratio))
        rows.append(("", "", "g", *grams, ""))
    yield from _columns(rows)
    yield ""
    skipped = fields["skipped"]
    used = fields["total"]["requests"]
    yield f"{fields['lines']} lines: {used} used, {sum(skipped.values())} skipped"
    for reason, count in sorted(skipped.items(), key=lambda item: -item[1]):
        yield f"  {count} {reason}"
    if fields["blended_grid"]:
        yield (
            f"  of those used, {fields['blended_grid']} without a country: the average"
            " of the region, or of the world"
        )


def methodologies(fields: Mapping[str, Any]) -> Iterator[str]:
    """One line each, the default marked."""
    rows: list[Sequence[str]] = [("VERSION", "NAME", "BOUNDARY", "BATCH", "")]
    rows += [
        (
            row["version"],
            row["name"],
            row["boundary"],
            str(row["batch"]),
            row["summary"] + (" (default)" if row["default"] else ""),
        )
        for row in fields["data"]
    ]
    yield from _columns(rows)


def methodology(fields: Mapping[str, Any]) -> Iterator[str]:
    """Formula, inputs, coefficients and data of one."""
    yield f"{fields['version']} ({fields['name']}): {fields['summary']}"
    yield f"boundary {fields['boundary']}, {_at_a_time(fields['batch'])}"
    yield ""
    yield from (f"  {line}" for line in fields["formula"]["text"])
    yield ""
    yield from _columns([(i["name"], i["unit"], i["what"]) for i in fields["inputs"]])
    yield ""
    yield from _sources(fields)
    yield f"licences {', '.join(fields['licenses'])}"


def _assumed(fields: Mapping[str, Any]) -> Iterator[str]:
    model, grid, tokens = fields["model"], fields["grid"], fields["tokens"]
    total, active = model["total_params_b"], model["active_params_b"]
    size = f"{total:g} billion parameters, "
    size += "all active" if active >= total else f"{active:g} active"
    bits = model.get("weight_bits")
    size += f", {bits:g} bits" if bits else ", precision not published"
    source = model.get("source", "nobody vouches for this size")
    place = f"{grid['zone']}, {grid['intensity_g_per_kwh']:g} g/kWh"
    place += f" {grid['kind']}, {grid['factor']}"
    method = f"{fields['methodology_version']} ({fields['methodology']})"
    taken = f"{_at_a_time(fields['batch'])}, boundary {fields['boundary']}"
    read = f"{tokens['prompt']} prompt, {tokens['cached']} of them cached"
    yield from _columns(
        [
            ("model", f"{model.get('name', 'declared')}: {size} ({source})"),
            ("method", f"{method}, {taken}"),
            ("grid", f"{place} ({grid['source']}, {grid['at']})"),
            ("tokens", f"{read}; {tokens['completion']} completion"),
        ]
    )


def _sources(fields: Mapping[str, Any]) -> Iterator[str]:
    yield from _columns(
        [
            (
                c["name"],
                f"{c['value']:.8g} {c['unit']}".rstrip(),
                c["what"],
                c["source"],
            )
            for c in fields["coefficients"]
        ]
    )
    yield ""
    yield from _columns(
        [
            (d["file"], f"sha256 {d['sha256'][:16]}", d["license"])
            for d in fields["data"]
        ]
    )


def _of_formula(fields: Mapping[str, Any], name: str) -> str | None:
    """The right-hand side of the formula's line for a name."""
    lines = (line.partition(" = ") for line in fields["formula"]["text"])
    return next((right for left, _, right in lines if left == name), None)


def _at_a_time(batch: int) -> str:
    return f"{batch} request{'s' if batch > 1 else ''} at a time"


def _bounded(sums: Mapping[str, float], name: str) -> str:
    low, high = sums[name + "_low"], sums[name + "_high"]
    return f"{sums[name]:.4g} ({low:.4g} to {high:.4g})"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
