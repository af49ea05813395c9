"""Fit the default method's four coefficients and compare all methods.

    python -m benchmarks.eco.fit [--json FILE]

The model is linear in its coefficients and positive, the errors are ratios, so the
squared *logarithms* of estimate over measurement are made least, each architecture
weighing the same. Errors are stated on architectures that were left out of the fit.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.eco.points import Point, load_points
from lowproxy.core.eco import CarbonIntensity
from lowproxy.core.eco_ecologits import Ecologits
from lowproxy.core.eco_roofline import kv_gb, touched_gb
from lowproxy.core.eco_v04 import V04Compat
from lowproxy.core.usage import Usage

NAMES = ("BYTES_MWH", "KV_MWH", "ACTIVE_MWH", "TOKEN_MWH")
ANYWHERE = CarbonIntensity("XX", 0.0, 0.0, 0.0, "none", "none")

Predictor = Callable[[Point], float]


def features(point: Point) -> list[float]:
    """What the four coefficients multiply, per output token."""
    facts, batch = point.facts, point.batch
    bits = facts.weight_bits or 16.0
    size = facts.total_params_b, facts.active_params_b, bits
    context = point.prompt_tokens + point.output_tokens / 2
    return [
        touched_gb(*size, batch, facts.experts) / batch,
        kv_gb(facts, facts.active_params_b) * context,
        facts.active_params_b,
        1.0,
    ]


def fit(points: Sequence[Point]) -> list[float]:
    """Positive coefficients, by damped Gauss-Newton on their logarithms."""
    rows = [features(point) for point in points]
    counts = Counter(point.family for point in points)
    weights = [1 / counts[point.family] for point in points]
    logs = [math.log(point.mwh) for point in points]
    theta = [math.log(0.05)] * len(NAMES)
    damping, cost = 1e-3, _cost(theta, rows, logs, weights)
    for _ in range(500):
        step = _step(theta, rows, logs, weights, damping)
        moved = [t + min(max(s, -1.0), 1.0) for t, s in zip(theta, step, strict=True)]
        better = _cost(moved, rows, logs, weights)
        if better < cost:
            done = cost - better < 1e-15
            theta, cost, damping = moved, better, damping / 3
            if done:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    return [math.exp(t) for t in theta]


def _cost(
    theta: Sequence[float],
    rows: Sequence[Sequence[float]],
    logs: Sequence[float],
    weights: Sequence[float],
) -> float:
    scale = [math.exp(t) for t in theta]
    return sum(
        w * (math.log(_dot(scale, row)) - log) ** 2
        for row, log, w in zip(rows, logs, weights, strict=True)
    )


def _step(
    theta: Sequence[float],
    rows: Sequence[Sequence[float]],
    logs: Sequence[float],
    weights: Sequence[float],
    damping: float,
) -> list[float]:
    scale = [math.exp(t) for t in theta]
    n = len(theta)
    normal = [[0.0] * n for _ in range(n)]
    right = [0.0] * n
    for row, log, weight in zip(rows, logs, weights, strict=True):
        total = _dot(scale, row)
        slope = [s * x / total for s, x in zip(scale, row, strict=True)]
        error = math.log(total) - log
        for i in range(n):
            right[i] -= weight * slope[i] * error
            for j in range(n):
                normal[i][j] += weight * slope[i] * slope[j]
    for i in range(n):
        normal[i][i] += damping * (normal[i][i] + 1e-9)
    return _solve(normal, right)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss elimination with pivots; changes its arguments."""
    n = len(right)
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(matrix[k][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        right[i], right[pivot] = right[pivot], right[i]
        for k in range(i + 1, n):
            factor = matrix[k][i] / matrix[i][i]
            right[k] -= factor * right[i]
            for j in range(i, n):
                matrix[k][j] -= factor * matrix[i][j]
    solution = [0.0] * n
    for i in reversed(range(n)):
        known = sum(matrix[i][j] * solution[j] for j in range(i + 1, n))
        solution[i] = (right[i] - known) / matrix[i][i]
    return solution


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def left_out(
    points: Sequence[Point], fitted: Callable[[Sequence[Point]], Predictor]
) -> list[tuple[Point, float]]:
    """Each point with its estimate from a fit that never saw its architecture."""
    pairs = []
    for family in sorted({point.family for point in points}):
        predict = fitted([p for p in points if p.family != family])
        pairs += [(p, predict(p)) for p in points if p.family == family]
    return pairs


def roofline(points: Sequence[Point]) -> Predictor:
    """The default method's form, fitted."""
    scale = fit(points)
    return lambda point: _dot(scale, features(point))


def log_linear(points: Sequence[Point]) -> Predictor:
    """C * weight bytes^P * active parameters^Q at batch 64: the simpler candidate."""
    near = [p for p in points if p.batch_class == 64]
    counts = Counter(point.family for point in near)
    normal = [[0.0] * 3 for _ in range(3)]
    right = [0.0] * 3
    for point in near:
        row, weight = _log_row(point), 1 / counts[point.family]
        for i in range(3):
            right[i] += weight * row[i] * math.log(point.mwh)
            for j in range(3):
                normal[i][j] += weight * row[i] * row[j]
    theta = _solve(normal, right)
    return lambda point: math.exp(_dot(theta, _log_row(point)))


def _log_row(point: Point) -> list[float]:
    facts = point.facts
    weight_gb = facts.total_params_b * (facts.weight_bits or 16.0) / 8
    return [1.0, math.log(weight_gb), math.log(facts.active_params_b)]


def ecologits(point: Point) -> float:
    """EcoLogits' GPU energy per output token, as it is."""
    rates = Ecologits().coefficients(point.facts, ANYWHERE, 1.0)
    return rates.gpu.central.energy_wh(Usage(0, 1)) * 1000


def v04(point: Point) -> float:
    """The abandoned formula's energy per output token, as it is."""
    rates = V04Compat().coefficients(point.facts, ANYWHERE, None)
    return rates.gpu.central.energy_wh(Usage(0, 1)) * 1000


def errors(pairs: Sequence[tuple[Point, float]]) -> dict[str, float]:
    """Common factor, geometric spread about it and the worst point, as ratios."""
    logs = [math.log(estimate / point.mwh) for point, estimate in pairs]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs))
    return {
        "points": len(logs),
        "factor": math.exp(mean),
        "spread": math.exp(spread),
        "worst": math.exp(max(abs(x - mean) for x in logs)),
    }


def report() -> dict[str, Any]:
    """Coefficients and the table of errors."""
    points = load_points()
    at_64 = [point for point in points if point.batch_class == 64]
    scale = fit(points)
    seen = [(p, _dot(scale, features(p))) for p in points]
    unseen = left_out(points, roofline)
    rows = {
        "roofline, unseen": [pair for pair in unseen if pair[0].batch_class == 64],
        "roofline, seen": [pair for pair in seen if pair[0].batch_class == 64],
        "roofline, unseen, all batches": unseen,
        "log-linear, unseen": left_out(at_64, log_linear),
        "ecologits": [(p, ecologits(p)) for p in at_64],
        "v0.4-compat": [(p, v04(p)) for p in at_64],
    }
    return {
        "coefficients": dict(zip(NAMES, scale, strict=True)),
        "errors": {name: errors(pairs) for name, pairs in rows.items()},
        "architectures": len({point.family for point in points}),
    }


def main() -> None:
    """Print the coefficients and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the report here as well")
    arguments = parser.parse_args()
    found = report()
    for name, value in found["coefficients"].items():
        print(f"{name} = {value:.4g}")
    print(f"\n{'method':32}{'points':>7}{'factor':>8}{'spread':>8}{'worst':>7}")
    for name, row in found["errors"].items():
        figures = f"{row['factor']:8.2f}{row['spread']:8.2f}{row['worst']:7.2f}"
        print(f"{name:32}{row['points']:7}{figures}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
