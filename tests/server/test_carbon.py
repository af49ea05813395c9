"""Carbon budgets at a running gateway: soft ones let everybody in, hard ones say 402 and when to come back."""

import attrs
import pytest

from lowproxy.config import CarbonBudgetRow
from lowproxy.core.access import ApiKey
from lowproxy.core.limits import Limits
from lowproxy.errors import BudgetSpentError
from lowproxy.server.carbon import CarbonBudgets
from tests.fakes import Clock, FakeUpstream
from tests.gateway import Place

HARD = '[carbon_budget]\ng_per_day = 1e-9\nmode = "hard"\n'


async def test_a_hard_budget_that_is_spent_is_a_402(serve, upstream):
    """What was spent, the limit and the reset are told; nobody is asked; reading the lists stays free."""
    gateway = await serve(upstream, extra=HARD)
    assert (await gateway.chat()).status == 200
    await gateway.books.record()
    told = await gateway.chat()

    assert told.status == 402
    error = told.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota",) * 2
    assert "carbon_budget.g_per_day is 1e-09" in error["message"]
    assert 86_000 < int(told.headers["retry-after"]) <= 86_700
    assert upstream.requests.count == 1
    async with gateway.caller() as caller:
        assert (await caller.get("/api/v1/models")).status == 200


async def test_a_soft_budget_refuses_nobody(serve, upstream):
    """It is for routing to keep to it."""
    gateway = await serve(upstream, extra=HARD.replace("hard", "soft"))
    for _ in range(3):
        assert (await gateway.chat()).status == 200


async def test_a_soft_budget_steers(serve):
    """What was sent to the cheaper place goes to the cleaner one, as soon as grams run short."""
    async with FakeUpstream() as dirty, FakeUpstream() as clean:
        places = (Place(dirty, "eu-central", zone="PL"), Place(clean, "uk", zone="GB"))
        for extra, expected in (("", 0), (HARD.replace("hard", "soft"), 2)):
            gateway = await serve(*places, extra=extra)
            dirty.requests.count = clean.requests.count = 0
            for n in range(3):
                await gateway.chat(route={"prefer_low_carbon": False})
                await gateway.books.record(n + 1)
            assert (dirty.requests.count, clean.requests.count) == (
                3 - expected,
                expected,
            )


async def test_budgets_are_in_the_metrics(serve, upstream):
    """Grams and the price of one, by scope; without a budget neither is there."""
    gateway = await serve(upstream, extra=HARD)
    await gateway.chat()
    record = await gateway.books.record()
    text = gateway.parts.metrics.exposition().decode()

    spent = 'lowproxy_carbon_budget_spent_grams{scope="gateway"} '
    assert float(text.partition(spent)[2].split()[0]) == pytest.approx(
        record.impact.carbon_g
    )
    assert 'lowproxy_carbon_budget_price{scope="gateway"} 1.0' in text


async def test_without_a_budget_there_is_none(serve, upstream):
    """And a request pays one test for it."""
    gateway = await serve(upstream)
    assert gateway.parts.carbon is None
    text = gateway.parts.metrics.exposition().decode()
    assert "carbon_budget_spent_grams{" not in text


def test_a_key_pays_the_dearer_price():
    """Its own budget steers its requests; another key's does not."""
    now = Clock()
    budgets = CarbonBudgets(CarbonBudgetRow(g_per_day=1000.0), now)
    key = ApiKey(name="a", hash="", limits=Limits(daily_carbon_ug=48_000_000))
    other = attrs.evolve(key, name="b", limits=None)
    budgets.took(key, 1.0, now())

    assert budgets.price(key, now()) == 1.0
    assert 0 < budgets.price(other, now()) < 0.001
    scopes = {scope: spent for scope, spent, _ in budgets.readings()}
    assert scopes == {"gateway": 1.0, "key:a": 1.0}


def test_a_key_whose_limit_is_edited_starts_anew():
    """With the new limit; a limit of nothing has nothing to steer."""
    now = Clock()
    budgets = CarbonBudgets(CarbonBudgetRow(), now)
    key = ApiKey(name="a", hash="", limits=Limits(daily_carbon_ug=48_000_000))
    budgets.took(key, 1.0, now())
    wider = attrs.evolve(key, limits=Limits(daily_carbon_ug=48_000_000_000))
    budgets.took(wider, 1.0, now())
    assert budgets.price(wider, now()) < 0.001
    budgets.took(attrs.evolve(key, limits=Limits(daily_carbon_ug=0)), 1.0, now())
    budgets.took(None, 1.0, now())


def test_hard_is_hard_at_the_limit_itself():
    """Spent is spent, not a little later."""
    now = Clock()
    budgets = CarbonBudgets(CarbonBudgetRow(g_per_day=2.0, mode="hard"), now)
    key = ApiKey(name="a", hash="")
    budgets.took(key, 1.0, now())
    assert budgets.admit(key, now()) == 1.0
    budgets.took(key, 1.0, now())
    with pytest.raises(BudgetSpentError, match="2 g of CO2 equivalent in 24 hours"):
        budgets.admit(key, now())


def test_an_edit_keeps_what_was_spent():
    """Also where the budget goes and comes back, as far as it was counted."""
    now = Clock()
    budgets = CarbonBudgets(
        CarbonBudgetRow(g_per_day=2.0, mode="hard"), now, [1.0, 2.0]
    )
    key = ApiKey(name="a", hash="")
    with pytest.raises(BudgetSpentError, match="3 g"):
        budgets.admit(key, now())
    wider = budgets.edited(CarbonBudgetRow(g_per_day=4.0, mode="hard"))
    wider.admit(key, now())
    wider.took(key, 1.01, now())
    with pytest.raises(BudgetSpentError, match=r"4\.01 g"):
        wider.admit(key, now())


async def test_a_restart_does_not_give_the_budget_back(serve, upstream, tmp_path):
    """What the books say of the last 24 hours is spent already."""
    store = f'[store]\nurl = "sqlite:///{tmp_path}/books.db"\n'
    first = await serve(upstream, extra=store)
    await first.chat()
    await first.books.record()
    first.parts.ledger.close()
    second = await serve(upstream, extra=store + HARD)
    assert (await second.chat()).status == 402
