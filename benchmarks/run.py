"""Measures the gateway beside nginx and a plain relay, and prints the tables.

    python benchmarks/run.py                          five rounds of everything
    python benchmarks/run.py --proxies nginx,lowproxy --workloads S2,U --rounds 1
    python benchmarks/run.py --workloads S2@50,S2@100,S2@200      a sweep, for plots
    python benchmarks/run.py --report benchmarks/results/FILE.json ...
    python benchmarks/run.py --into benchmarks/README.md   tables from the files it names

Every round visits every proxy once and the order turns about from round to round; a
ratio is taken within a round, and the median of the rounds is shown. The raw file is
written after every visit.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import machine, proxies, report, workloads
from benchmarks.load.rig import Rig, rig, say, visit

RESULTS = Path(__file__).with_name("results")


def main(argv: list[str] | None = None) -> int:
    """Run or report; the exit status."""
    options = _options().parse_args(argv)
    if options.into:
        options.into.write_text(report.renewed(options.into.read_text(), RESULTS))
        return 0
    if options.report:
        print(report.tables([json.loads(file.read_text()) for file in options.report]))
        return 0
    try:
        chosen = [workloads.named(n, options.scale) for n in _names(options.workloads)]
        contestants = [proxies.PROXIES[n] for n in _names(options.proxies)]
    except KeyError as unknown:
        print(f"no such workload or proxy: {unknown}", file=sys.stderr)
        return 2
    out = options.out or _new_file()
    result = _run(contestants, chosen, options.rounds, options.retries, out)
    print(report.tables([result]))
    return 0


def _options() -> argparse.ArgumentParser:
    about = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=about[0],
        epilog=about[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--proxies", default=",".join(proxies.USUAL))
    parser.add_argument("--workloads", default=",".join(workloads.USUAL))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the windows' length"
    )
    parser.add_argument(
        "--retries", type=int, default=1, help="of a measurement that others disturbed"
    )
    parser.add_argument("--out", type=Path, help="the raw file (default: in results/)")
    parser.add_argument("--report", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--into", type=Path, metavar="MARKDOWN")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _new_file() -> Path:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d-%H%M")
    return RESULTS / f"{now}.json"


def _run(
    contestants: list[proxies.Proxy],
    chosen: list[workloads.Workload],
    rounds: int,
    retries: int,
    out: Path,
) -> dict[str, Any]:
    out.parent.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        **machine.facts(),
        "order": [p.name for p in contestants],
        "workloads": {w.name: w.facts() for w in chosen},
        "rounds": [],
    }
    result["versions"] |= proxies.peer_versions(result["order"])
    with rig(tls=any(w.tls for w in chosen), retries=retries) as where:
        for number in range(rounds):
            visits: dict[str, Any] = {}
            result["rounds"].append(visits)
            for proxy in contestants[:: -1 if number % 2 else 1]:
                visits[proxy.name] = _visit(where, proxy, chosen)
                say(f"round {number + 1} {proxy.name}: {_gist(visits[proxy.name])}")
                out.write_text(_kept(result))
    say(f"raw figures: {out}")
    return result


def _kept(result: dict[str, Any]) -> str:
    """The raw file's text: one line for each visit, so that two files can be compared."""
    head = {name: value for name, value in result.items() if name != "rounds"}
    lines = [json.dumps(head, indent=1)[:-2] + ',\n "rounds": [']
    for number, visits in enumerate(result["rounds"]):
        rows = [f"   {json.dumps(name)}: {json.dumps(v)}" for name, v in visits.items()]
        comma = "," if number + 1 < len(result["rounds"]) else ""
        lines.append("  {\n" + ",\n".join(rows) + "\n  }" + comma)
    return "\n".join(lines) + "\n ]\n}\n"


def _visit(where: Rig, proxy: proxies.Proxy, chosen: list[workloads.Workload]) -> Any:
    """A visit that fails does not end the run; it is written down as failed."""
    try:
        return visit(where, proxy, chosen)
    except (OSError, RuntimeError, ValueError) as failure:
        return {"failed": repr(failure)}


def _gist(found: dict[str, Any]) -> str:
    if "failed" in found:
        return f"failed: {found['failed']}"
    parts = []
    for name, load in found["loads"].items():
        cost = load.get("failed") or f"{load.get('cpu_us', 0):.1f}"
        errors = sum(load.get("errors", {}).values())
        parts.append(f"{name} {cost}" + (f" ({errors} errors)" if errors else ""))
    return ", ".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
