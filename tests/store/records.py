"""Records for tests of the books."""

from typing import Any

from lowproxy.core.eco import EcoImpact, ModelFacts
from lowproxy.core.eco_methods import DEFAULT
from lowproxy.core.record import UsageRecord
from lowproxy.core.usage import Usage
from lowproxy.grid.annual import AnnualGrid

NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z
USAGE = Usage(100, 20, 10, 5)


def impact(usage: Usage = USAGE) -> EcoImpact:
    """An estimate in France."""
    grid = AnnualGrid.load().intensity("FR", "eu-west")
    return DEFAULT.estimate(ModelFacts(24.0, 24.0), usage, grid, 1.2, ("demo",))


def record(number: int = 1, **changes: Any) -> UsageRecord:
    """A good request; the `number` is in its id."""
    made = UsageRecord(
        generation_id=f"gen_{number:06}",
        created_at=NOON + number,
        completed_at=NOON + number + 1.5,
        endpoint="chat",
        http_status=200,
        status="ok",
        error=None,
        key_id="alice",
        requested_model="lowrouter/auto",
        resolved_model="acme/small",
        provider="acme",
        region="eu-west",
        streamed=True,
        latency_ms=120.5,
        duration_ms=1500.0,
        usage=USAGE,
        impact=impact(),
        attempts=(("acme-paris/acme/small", "ok"),),
        cost_nano=12_345,
        currency="EUR",
    )
    return made._replace(**changes)
