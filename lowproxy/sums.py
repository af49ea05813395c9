"""The shapes of metrics: sums over the rows of requests, and the few that are counted by themselves.

`lowproxy.metrics` lists what there is; here is how each becomes what a scrape sees.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from lowproxy.core import semconv
from lowproxy.tally import Kind, Row

Labels = tuple[str, ...]

# Whose fault a failure is, by what became of the request.
_SIDES = {"client_error": "caller", "upstream_error": "upstream"}


class Counter:
    """A number per combination of labels that only grows, for what is not counted per request."""

    def __init__(self, name: str, text: str, labels: Labels) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Counts; `labels` are values in the order of the names."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def family(self) -> Metric:
        """What a scrape sees."""
        return with_values(
            CounterMetricFamily(self.name, self.text, labels=self.labels), self.values
        )


class Histogram:
    """How observations spread over buckets, without labels."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self.name, self.text, self.bounds = name, text, bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.last = 0.0

    def observe(self, value: float) -> None:
        """One observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        self.last = value

    def family(self) -> Metric:
        """What a scrape sees."""
        family = HistogramMetricFamily(self.name, self.text)
        family.add_metric((), _buckets(self.bounds, self.counts), self.total)
        return family


# --- sums over the rows of requests ------------------------------------------------------------

_LABELS: dict[str, Callable[[Kind], str | None]] = {
    "currency": lambda kind: kind.currency,
    "code": lambda kind: kind.code,
    "endpoint": lambda kind: kind.endpoint,
    "model": lambda kind: kind.model,
    "provider": lambda kind: kind.provider,
    "region": lambda kind: kind.region,
    "side": lambda kind: _SIDES.get(kind.status, "gateway"),
    "status": lambda kind: kind.status,
    "error_type": lambda kind: kind.code or "",
    "gen_ai_operation_name": lambda kind: semconv.operation(kind.endpoint),
    "gen_ai_provider_name": lambda kind: semconv.provider(kind.provider or "none"),
    "gen_ai_response_model": lambda kind: kind.model,
}


def asked_a_model(kind: Kind) -> bool:
    """Whether a provider was chosen for it."""
    return kind.provider is not None and semconv.operation(kind.endpoint) is not None


def streamed(kind: Kind) -> bool:
    """Whether a stream was asked of a model."""
    return kind.streamed and asked_a_model(kind)


def _any(kind: Kind) -> bool:
    return True


@attrs.frozen
class Sum:
    """A counter of requests: one or more of a row's numbers, each under the values of `part`.

    A combination that is zero throughout is left out.
    """

    name: str
    text: str
    labels: Labels
    numbers: Mapping[str, str]  # the value of the label `part`, and the field of Row
    part: str = ""  # the label; empty: one number without
    of: Callable[[Kind], bool] = _any
    scale: float = 1.0  # what the number is divided by

    def family(self, rows: Iterable[tuple[Kind, Row]]) -> Metric:
        """What a scrape sees."""
        values: dict[Labels, float] = {}
        for kind, row in rows:
            if not self.of(kind):
                continue
            names = _values(self.labels, kind)
            for value, field in self.numbers.items():
                if amount := getattr(row, field):
                    labels = (*names, value) if self.part else names
                    values[labels] = values.get(labels, 0) + amount / self.scale
        labels = (*self.labels, self.part) if self.part else self.labels
        return with_values(
            CounterMetricFamily(self.name, self.text, labels=labels), values
        )


@attrs.frozen
class Spread:
    """A histogram of requests: fields of Row that hold the counts of its buckets, and their sum."""

    name: str
    text: str
    labels: Labels
    bounds: Sequence[float]
    numbers: Mapping[str, tuple[str, str]]  # by the value of `part`: counts, sum
    part: str = ""
    of: Callable[[Kind], bool] = _any
    scale: float = 1.0  # what the sum is divided by

    def family(self, rows: Iterable[tuple[Kind, Row]]) -> Metric:
        """What a scrape sees."""
        found: dict[Labels, tuple[list[int], list[float]]] = {}
        for kind, row in rows:
            if not self.of(kind):
                continue
            names = _values(self.labels, kind)
            for value, (counts, total) in self.numbers.items():
                labels = (*names, value) if self.part else names
                here: list[int] = getattr(row, counts)
                if any(here):
                    sums = found.setdefault(labels, ([0] * len(here), [0.0]))
                    sums[0][:] = map(int.__add__, sums[0], here)
                    sums[1][0] += getattr(row, total)
        labels = (*self.labels, self.part) if self.part else self.labels
        family = HistogramMetricFamily(self.name, self.text, labels=labels)
        for names, (counted, (amount,)) in found.items():
            family.add_metric(
                names, _buckets(self.bounds, counted), amount / self.scale
            )
        return family


def _values(labels: Labels, kind: Kind) -> Labels:
    return tuple("none" if (v := _LABELS[name](kind)) is None else v for name in labels)


def with_values(family: Any, values: Mapping[Any, float]) -> Metric:
    """The family, filled: `values` are by the values of its labels."""
    for labels, value in values.items():
        family.add_metric(labels, value)
    assert isinstance(family, Metric)
    return family


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative counts under their bounds, written as Prometheus writes floats."""
    buckets, seen = [], 0
    for bound, count in zip((*map(float, bounds), "+Inf"), counts, strict=True):
        seen += count
        buckets.append((str(bound), float(seen)))
    return buckets
