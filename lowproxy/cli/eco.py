"""`lowproxy eco`: an estimate step by step, methodologies compared over stored requests."""

import argparse
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import orjson

from lowproxy.catalogue import Catalogue, open_config
from lowproxy.cli import eco_text
from lowproxy.cli.eco_records import read_lines, stored
from lowproxy.core.eco import CarbonIntensity, Method, ModelFacts
from lowproxy.core.eco_block import six
from lowproxy.core.eco_compare import Look, StoredRequest, compare
from lowproxy.core.eco_derivation import derive
from lowproxy.core.eco_manifest import manifest, summary
from lowproxy.core.eco_methods import DEFAULT, METHODS, find_method
from lowproxy.core.eco_workings import workings
from lowproxy.core.upstreams import Endpoint
from lowproxy.core.usage import Usage
from lowproxy.grid.annual import WORLD, AnnualGrid
from lowproxy.grid.manifest import load_data_files
from lowproxy.grid.model_table import load_models
from lowproxy.store.database import StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of `lowproxy eco` and what each takes."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _estimate_arguments(
        actions.add_parser("estimate", help="one request, step by step, with sources")
    )
    _compare_arguments(
        actions.add_parser("compare", help="two methodologies over stored requests")
    )
    listing = actions.add_parser(
        "methodologies", help="what there is, or all about one of them"
    )
    listing.add_argument("version", nargs="?", type=_method, metavar="VERSION")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(action=methodologies)


def run(args: argparse.Namespace) -> int:
    """Runs one action; returns the exit code."""
    return int(args.action(args))


def _estimate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        help="an id of the catalogue, or a Hugging Face id such as Qwen/Qwen3-32B",
    )
    parser.add_argument("--prompt-tokens", type=_count, default=0, metavar="N")
    parser.add_argument(
        "--completion-tokens",
        type=_count,
        default=0,
        metavar="N",
        help="with reasoning tokens",
    )
    parser.add_argument(
        "--cached-tokens",
        type=_count,
        default=0,
        metavar="N",
        help="of the prompt, read from the provider's cache",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--zone", help="a grid zone such as FR, FRA or US-CAL-CISO")
    place.add_argument(
        "--region", help="a region such as eu-west; with neither, the world's average"
    )
    parser.add_argument(
        "--methodology",
        type=_method,
        default=DEFAULT,
        metavar="V",
        help=f"default: {DEFAULT.version}",
    )
    parser.add_argument("--pue", type=_pue, metavar="X", help="if it is known")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.set_defaults(action=estimate)


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=_method, metavar="A", help="a methodology")
    parser.add_argument("second", type=_method, metavar="B", help="another")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--store", action="store_true", help="the records of the configured store"
    )
    source.add_argument(
        "--records",
        type=Path,
        metavar="FILE",
        help="JSON Lines: the access log, or rows with model, region or zone,"
        " prompt_tokens, completion_tokens; - for standard input",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.set_defaults(action=run_compare)


def estimate(args: argparse.Namespace) -> int:
    """Prints one derivation; 1 where the model's size or the place is not known."""
    usage = Usage(args.prompt_tokens, args.completion_tokens, args.cached_tokens)
    if not usage.total:
        return _complain("no tokens: give --prompt-tokens, --completion-tokens", 2)
    if usage.cached > usage.prompt:
        return _complain("--cached-tokens: more than --prompt-tokens", 2)
    _, catalogue = open_config(args.config, os.environ)
    facts = _Sizes(catalogue).facts(args.model)
    if facts is None:
        return _complain(
            f"the size of {args.model!r} is not known, so there is no estimate: it is in"
            " no table and its name does not say it; declare total_params_b and"
            " active_params_b in a [[models]] row",
            1,
        )
    grid = _place(AnnualGrid.load(), args.zone, args.region)
    if grid is None:
        wanted = f"zone {args.zone!r}" if args.zone else f"region {args.region!r}"
        right = "a country (FR, FRA), a part of one (US-CAL-CISO)"
        return _complain(
            f"no {wanted} in the grid tables; --zone takes {right}, --region eu-west", 1
        )
    fields = derivation_fields(args.methodology, facts, usage, grid, args.pue)
    _print_either(fields, args.json, eco_text.estimate)
    return 0


def derivation_fields(
    method: Method,
    facts: ModelFacts,
    usage: Usage,
    grid: CarbonIntensity,
    pue: float | None,
) -> dict[str, Any]:
    """All of one estimate: figures with bounds, sums between, sources. For `--json`."""
    derivation = derive(method, facts, usage, grid, pue)
    impact = method.estimate(facts, usage, grid, pue)
    known = manifest(method, load_data_files(), method is DEFAULT)
    fields = derivation.fields()
    fields["grid"] |= {
        "kind": grid.kind,
        "factor": grid.factor,
        "low": six(grid.low),
        "high": six(grid.high),
        "live": grid.live,
        "blended": grid.blended,
    }
    return {
        **fields,
        "methodology": method.name,
        "batch": known["batch"],
        "boundary": impact.boundary,
        **({} if impact.pue is None else {"pue": six(impact.pue)}),
        "tokens": {
            "prompt": usage.prompt,
            "cached": usage.cached,
            "completion": usage.completion,
        },
        "notes": list(impact.notes),
        "workings": [
            {"name": w.name, "value": w.value, "unit": w.unit, "how": w.how}
            for w in workings(method, facts, usage)
        ],
        "steps": [
            {"name": s.name, "value": s.central, "unit": s.unit, "how": s.how}
            for s in derivation.steps
        ],
        "formula": known["formula"],
        "coefficients": known["coefficients"],
        "data": known["data"],
    }


def run_compare(args: argparse.Namespace) -> int:
    """Prints what both methodologies say; 1 where no line could be used."""
    config, catalogue = open_config(args.config, os.environ)
    try:
        lines = stored(config) if args.store else read_lines(args.records)
        found = compare(lines, args.first, args.second, _look(catalogue))
    except OSError as exc:
        return _complain(f"--records: {args.records}: {exc.strerror}", 1)
    except StoreError as exc:
        return _complain(f"--store: {exc}", 1)
    _print_either(found.fields(), args.json, eco_text.comparison)
    return 0 if found.total.requests else 1


def methodologies(args: argparse.Namespace) -> int:
    """Prints the list of methodologies, or all about one."""
    if args.version is None:
        rows = [summary(each, each is DEFAULT) for each in METHODS.values()]
        _print_either({"data": rows}, args.json, eco_text.methodologies)
    else:
        method: Method = args.version
        shown = manifest(method, load_data_files(), method is DEFAULT)
        _print_either(shown, args.json, eco_text.methodology)
    return 0


class _Sizes:
    """Sizes as the gateway would find them: the operator's rows, then the tables."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._models = {model.id: model for model in catalogue.models}
        self._table = load_models()

    def facts(self, model_id: str) -> ModelFacts | None:
        """None where the size is not known."""
        model = self._models.get(model_id)
        if model is None:
            return self._table.facts(model_id)
        return model.facts or self._table.facts(model.id, model.upstream_model)


def _look(catalogue: Catalogue) -> Look:
    """Facts, grid and PUE of a stored request, as this configuration has them."""
    sizes, annual = _Sizes(catalogue), AnnualGrid.load()
    if catalogue.demo:
        catalogue = catalogue.demo_rows("http://127.0.0.1")
    places: dict[tuple[str | None, str | None], list[Endpoint]] = {}
    for endpoint in catalogue.endpoints:
        places.setdefault((endpoint.provider.id, endpoint.region), []).append(endpoint)

    @cache
    def looked(
        model: str, provider: str | None, region: str | None, zone: str | None
    ) -> tuple[ModelFacts | None, CarbonIntensity, float | None]:
        known = places.get((provider, region), [])
        zones = {endpoint.zone for endpoint in known}
        if zone is None and len(zones) == 1:
            zone = zones.pop()
        pue = known[0].provider.pue if known else None
        return sizes.facts(model), annual.intensity(zone, region or ""), pue

    def look(
        request: StoredRequest,
    ) -> tuple[ModelFacts | None, CarbonIntensity, float | None]:
        found = looked(request.model, request.provider, request.region, request.zone)
        if request.grid is None:
            return found
        facts, mean, pue = found
        water = mean.water_l_per_kwh  # no live source tells it
        return facts, attrs.evolve(request.grid, water_l_per_kwh=water), pue

    return look


def _place(
    annual: AnnualGrid, zone: str | None, region: str | None
) -> CarbonIntensity | None:
    """The reading there; None for a name that means no place."""
    if zone is not None:
        zone = annual.alpha_3.get(zone.upper(), zone.upper())
    grid = annual.intensity(zone, region or "")
    named = zone or region
    is_lost = grid.zone == WORLD and named is not None and named.upper() != WORLD
    return None if is_lost else grid


def _print_either(fields: dict[str, Any], as_json: bool, text: eco_text.Text) -> None:
    if as_json:
        print(orjson.dumps(fields, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(text(fields)))


def _complain(message: str, code: int) -> int:
    print(f"lowproxy eco: {message}", file=sys.stderr)
    return code


def _method(name: str) -> Method:
    try:
        return find_method(name)
    except KeyError as exc:
        raise argparse.ArgumentTypeError(exc.args[0]) from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens")
    return int(text)


def _pue(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} is no PUE; from 1 to 10")
    return value
