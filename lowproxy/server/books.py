"""What is written down of a request, whatever became of it: metrics and one access line.

The requests of a tenth of a second are written down together: each step then runs while it is warm in the
processor's caches, which halves its cost, and no caller waits for any of it.
"""

import asyncio
from collections.abc import Callable

import structlog

from lowproxy import logs
from lowproxy.core.access_line import access_facts, access_texts
from lowproxy.core.eco_outcomes import PARTIAL, wasted
from lowproxy.core.record import UsageRecord
from lowproxy.metrics import Metrics
from lowproxy.server.admission import settle
from lowproxy.server.carbon import CarbonBudgets
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.tally import by_kind
from lowproxy.telemetry import Telemetry

log = structlog.get_logger("lowproxy.books")

# How long a request waits to be written down. A process that is killed loses as much.
DELAY_S = 0.1
# As many are written down without waiting for that: each keeps others waiting for some ten microseconds.
TOGETHER = 256


def write_down(parts: Parts, exchange: Exchange) -> None:
    """Called once per request, by the door, always."""
    exchange.end()
    try:
        if (
            exchange.usage is not exchange.weighed
            or exchange.outcome != "ok"
            or len(exchange.attempts) > 1
        ):
            _weigh(parts, exchange)
        if parts.carbon is not None:
            _budget(parts.carbon, exchange)
    finally:
        if exchange.reservation is not None:
            settle(parts, exchange, exchange.reservation)
    waiting = parts.unwritten
    waiting.append(exchange)
    if len(waiting) == 1:
        asyncio.get_running_loop().call_later(DELAY_S, write_all, parts)
    elif len(waiting) >= TOGETHER:
        write_all(parts)


def _weigh(parts: Parts, exchange: Exchange) -> None:
    """Impact and cost of what the answer has not told already."""
    usage, candidate = exchange.usage, exchange.candidate
    if usage is not None and candidate is not None:
        is_cut = usage.counted and exchange.outcome != "ok"
        if is_cut or usage != exchange.weighed:
            # Cut before its final chunk, or something came after it: what was seen counts.
            notes = (*exchange.notes, PARTIAL) if is_cut else exchange.notes
            exchange.impact = parts.scales.weigh(
                candidate, usage, notes, exchange.reading
            )
            prices = candidate.model.prices
            exchange.cost_nano = None if prices is None else prices.cost_nano(usage)
            exchange.cost = None
    exchange.wasted = _wasted(parts, exchange)


def write_all(parts: Parts) -> None:
    """Writes down what waits: by the timer, before a scrape, and at the end."""
    # One list for all configurations, emptied in place: a reload may come in between.
    waiting = parts.unwritten.copy()
    parts.unwritten.clear()
    records = [exchange.record() for exchange in waiting]
    _count(parts.metrics, records)
    ledger = parts.ledger
    if ledger is not None:
        _each(
            ledger.append,
            [r for e, r in zip(waiting, records, strict=True) if e.is_post],
        )
    if parts.telemetry is not None:
        _export(parts.telemetry, waiting, records)
    if parts.config.log.access:
        _log_access(records)


def _count(metrics: Metrics, records: list[UsageRecord]) -> None:
    for alike in by_kind(records):
        try:
            metrics.count(*alike)
        except Exception:  # noqa: BLE001 - nothing was counted: all but the bad one are
            _each(metrics.count, alike)


def _each(step: Callable[[UsageRecord], None], records: list[UsageRecord]) -> None:
    for record in records:
        try:
            step(record)
        except Exception as exc:  # noqa: BLE001 - one record must not cost the others theirs
            about = record.generation_id
            log.error("bug", generation_id=about, kind=type(exc).__name__, at="books")


def _export(
    telemetry: Telemetry, waiting: list[Exchange], records: list[UsageRecord]
) -> None:
    """One span each for what began while telemetry was there."""
    exchanges = {exchange.generation_id: exchange for exchange in waiting}

    def write(record: UsageRecord) -> None:
        exchange = exchanges[record.generation_id]
        if exchange.span is not None:
            took_s = [attempt.duration_s for attempt in exchange.attempts]
            telemetry.write(exchange.span, record, took_s)

    _each(write, records)


def _log_access(records: list[UsageRecord]) -> None:
    if logs.batches():
        try:
            lines = access_texts(records)
        except Exception:  # noqa: BLE001 - all but the bad one have a line
            lines = []
            _each(lambda record: lines.extend(access_texts((record,))), records)
        logs.take_access_lines(lines)
    else:
        access = structlog.get_logger("lowproxy.access")
        _each(
            lambda record: access.info("request.done", **access_facts(record)), records
        )


def _budget(budgets: CarbonBudgets, exchange: Exchange) -> None:
    """What the request took counts against carbon budgets, failed attempts with it."""
    grams = exchange.impact.carbon_g if exchange.impact is not None else 0.0
    if exchange.wasted is not None:
        grams += exchange.wasted[1]
    if grams:
        budgets.took(exchange.key, grams, exchange.ended)


def _wasted(parts: Parts, exchange: Exchange) -> tuple[float, float] | None:
    """Wh and grams of the attempts that failed, as far as upstreams told their tokens."""
    decision = exchange.decision
    if decision is None or all(tried.wasted is None for tried in exchange.attempts):
        return None
    return wasted(
        parts.scales.weigh(decision.find(tried.candidate), tried.wasted)
        for tried in exchange.attempts
    )
