"""The simulated week: small runs of every case, and a README that shows the raw file."""

import json
from pathlib import Path

import pytest

from benchmarks.sim import cases, report
from benchmarks.sim.play import Gateway, body, decided, play, round_robin
from benchmarks.sim.world import PLACES, WEEK_S, make_world, published
from lowproxy.core.carbon_budget import CarbonBudget

ROOT = Path(__file__).parents[2]
FEW = 120


def test_the_figures_are_a_week_of_ten_zones():
    """Every hour of both weeks, in plausible grams, and as many hours of requests."""
    grid, requests = published()
    for week in grid["weeks"].values():
        assert set(week) == set(PLACES)
        for hourly in week.values():
            assert len(hourly) == 168
            assert all(10 < each < 900 for each in hourly)
    assert len(requests["per_minute"]) == 168
    assert len(requests["tokens"]) == 200


def test_a_world_is_the_same_for_the_same_seed():
    """Also what becomes of an attempt, whoever asks for it; another seed is another week."""
    one, same, other = (make_world(seed, FEW) for seed in (1, 1, 2))
    assert one == same
    assert one.requests != other.requests
    assert all(0 <= asked.at < WEEK_S for asked in one.requests)
    candidate = play_pool(one)[0]
    asked = one.requests[0]
    tried = one.attempt(0, candidate, asked, asked.at)
    assert tried == same.attempt(0, candidate, asked, asked.at)


def play_pool(world):
    """The candidates of a world."""
    seen = []

    def strategy(asks, now):
        seen.append(now.pool)
        return ()

    play(world, strategy, body())
    (candidates,) = seen[0].by_model.values()
    return candidates


def test_auto_takes_fewer_grams_than_round_robin():
    """In the same week, with the same health; and every request is accounted for."""
    world = make_world(1, FEW)
    auto, turns = (play(world, each, body()) for each in (decided, round_robin))
    assert auto.grams < turns.grams
    for outcome in (auto, turns):
        assert outcome.requests == FEW == outcome.failed + len(outcome.whole_s)
        assert sum(outcome.daily_g) == pytest.approx(outcome.grams)


def test_what_routing_sees_does_not_change_what_is_weighed():
    """With one place there is nothing to choose: the mean of the week weighs nothing."""
    world = make_world(1, FEW, zones=("DE",))
    grams = [
        play(world, decided, body(), Gateway.make(sees_the_hour=sees)).grams
        for sees in (True, False)
    ]
    assert grams[0] == pytest.approx(grams[1])


def test_a_budget_is_seen_by_the_decision():
    """Next to nothing for the day: grams cost the most, so fewer are taken."""
    world = make_world(3, 1000, zones=cases.DIRTIER)
    asks = body(extra=cases.STANDARD)
    free = play(world, decided, asks)
    held = play(world, decided, asks, budget=CarbonBudget(free.grams / 100, 0.0))
    assert held.grams < free.grams
    assert held.most_in_a_day_g > 0


def test_every_case_makes_its_table(monkeypatch):
    """In small, from end to end."""
    monkeypatch.setattr(cases, "SHARES", (0.0, 1.0))
    monkeypatch.setattr(cases, "BUDGETS", (0.5,))
    monkeypatch.setattr(cases, "SETS", {"few": ("november", ("DE", "SE"))})
    found = {
        "strategies": cases.side_by_side(FEW, [1]),
        "places": cases.other_places(FEW, [1]),
        "weights": cases.other_weights(FEW, [1]),
        "budgets": cases.with_budgets(FEW, [1]),
    }
    made = report.tables(found)
    assert made["strategies"].count("\n") == len(cases.STRATEGIES) + 1
    assert "| few |" in made["places"]
    text = "".join(f"<!-- {n} -->old<!-- end of {n} -->" for n in made)
    assert "old" not in report.renewed(text, made)
    with pytest.raises(ValueError, match="'strategies'"):
        report.renewed("", made)


def test_the_readme_shows_the_raw_file():
    """The tables are those of the newest run in the tree."""
    *_, newest = sorted((ROOT / "benchmarks" / "results").glob("*-sim.json"))
    made = report.tables(json.loads(newest.read_text()))
    text = report.README.read_text()
    assert newest.name in text
    assert report.renewed(text, made) == text


def test_the_picture_can_be_drawn(tmp_path):
    """Without a display, where matplotlib is there."""
    pytest.importorskip("matplotlib")
    from benchmarks.sim.drawing import draw

    *_, newest = sorted((ROOT / "benchmarks" / "results").glob("*-sim.json"))
    draw(json.loads(newest.read_text()), tmp_path / "week.svg")
    drawn = (tmp_path / "week.svg").read_text()
    assert "round robin" in drawn
    assert len(drawn) < 100_000
