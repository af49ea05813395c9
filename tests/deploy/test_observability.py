"""The dashboard and the rules speak of what the program exports, and Prometheus can read them."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import Answer, FakeUpstream
from tests.gateway import MODEL, ask, asking, gateway_over, uvloop_factories

FOLDER = Path(__file__).parents[2] / "deploy" / "observability"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = yaml.safe_load((FOLDER / "rules.yaml").read_text())
PROMTOOL = shutil.which("promtool")

# What Prometheus itself adds to every sample of a target.
TARGET = {"instance", "job"}
# Metrics that are there only where something is configured or has gone wrong: set by hand below.
NAME = re.compile(r"\b(?:lowproxy|gen_ai|process)_\w+|\b[a-z]+:\w+:\w+|\bup\b")


def pytest_asyncio_loop_factories():
    """uvloop, as `lowproxy serve` picks it."""
    return uvloop_factories()


def every_rule():
    """All rules, recorded and alerting."""
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def dashboard_expressions():
    """Every expression of the dashboard, with Grafana's variables as Grafana fills them."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield filled(target["expr"])


def filled(expression):
    """Without variables."""
    for name, value in (
        ("$__rate_interval", "5m"),
        ("$__range", "6h"),
        ("$instance", ".*"),
    ):
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


EXPRESSIONS = [*(rule["expr"] for rule in every_rule()), *dashboard_expressions()]


@pytest.fixture
async def exported(tmp_path):
    """The labels of every metric of a scrape, after streams, retries, failures and mistakes."""
    async with (
        FakeUpstream() as first,
        FakeUpstream() as second,
        gateway_over(tmp_path, first, second) as gateway,
    ):
        failed = {"error": {"message": "x"}, "usage": {"prompt_tokens": 5}}
        first.script = [Answer.of(failed, status=500)]
        await gateway.chat(asking(usage=True))
        await gateway.chat(ask())
        first.script = [Answer.of({}, status=500)]
        second.script = [Answer.of({}, status=500)]
        await gateway.chat(ask())
        await gateway.chat(ask(model="nobody/nothing"))
        metrics = gateway.parts.metrics
        metrics.grid_failures.add(("source", "reason"))
        metrics.config_reloads.add(("rejected",))
        metrics.hooks.carbon = lambda: [("gateway", 1.0, 0.0)]
        metrics.hooks.grid = lambda: [("FR", "source", 40.0, 60.0)]
        text = (await gateway.admin("/metrics")).body.decode()
    assert MODEL in text
    labels: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for rule in every_rule():
        if "record" in rule:
            by = re.search(r"by \(([^)]*)\)", rule["expr"])
            assert by is not None
            labels[rule["record"]] = set(re.split(r",\s*", by[1]))
    return labels


def spoken_of(expression):
    """Metrics with the labels of their selectors, and the labels that are summed by."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    grouped = {
        label
        for inside in re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", bare)
        for label in re.split(r",\s*", inside.strip())
    }
    without = re.sub(r"\b(?:by|without|on|ignoring) \([^)]*\)", "", bare)
    found = []
    for name in NAME.finditer(re.sub(r"\{[^}]*\}", lambda m: " " * len(m[0]), without)):
        selector = re.match(r"\{([^}]*)\}", without[name.end() :])
        inside = selector[1] if selector else ""
        found.append((name[0], set(re.findall(r"(\w+)\s*[=!]", inside))))
    return found, grouped


def test_the_reading_of_expressions():
    """What the tests below go by."""
    found, grouped = spoken_of(
        'sum by (le, model) (rate(lowproxy_x_bucket{a="b{",c!="d"}[5m])) / up == 0'
    )
    assert found == [("lowproxy_x_bucket", {"a", "c"}), ("up", set())]
    assert grouped == {"le", "model"}


async def test_every_name_and_label_is_exported(exported):
    """By a scrape of the program after a few requests, for the dashboard and the rules alike."""
    for expression in EXPRESSIONS:
        found, grouped = spoken_of(expression)
        assert found, expression
        known = set(TARGET)
        for name, labels in found:
            assert name in exported, f"{name} is not exported: {expression}"
            assert labels <= exported[name] | TARGET, f"{name}: {labels}"
            known |= exported[name]
        assert grouped <= known, expression


async def test_annotations_and_legends_name_labels_that_are_there(exported):
    """Where they name one that the expression has summed away, Prometheus shows nothing."""
    told = [
        (r["expr"], " ".join(r["annotations"].values()))
        for r in every_rule()
        if "alert" in r
    ]
    told += [
        (filled(target["expr"]), target["legendFormat"].replace("{{", "{{ $labels."))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]
    for expression, text in told:
        found, grouped = spoken_of(expression)
        there = grouped or set().union(*(exported[name] for name, _ in found))
        there |= set() if grouped else TARGET
        for label in re.findall(r"\{\{ \$labels\.(\w+)", text):
            assert label in there | exported[found[0][0]], (label, expression)


async def test_what_is_exported_is_watched(exported):
    """No metric of ours without a place on the dashboard; but for those that are said elsewhere."""
    elsewhere = {
        "lowproxy_build_info",  # the choice of instances
        "lowproxy_request_duration_seconds",  # the conventions' metric is shown
        "lowproxy_wasted_carbon_grams_total",  # its energy is shown
        "lowproxy_eco_omitted_total",
        "lowproxy_unreadable_events_total",
    }
    shown = {name for e in EXPRESSIONS for name, _ in spoken_of(e)[0]}
    for name in exported:
        base = re.sub(r"_(bucket|count|sum|created)$", "", name)
        if base.startswith(("lowproxy_", "gen_ai_")) and base not in elsewhere:
            assert {name, base, base + "_bucket"} & shown, name


def test_the_choice_of_instances():
    """The dashboard's own question names a metric that every instance has."""
    queries = [v["query"] for v in DASHBOARD["templating"]["list"]]
    assert "label_values(lowproxy_build_info, instance)" in json.dumps(queries)


def test_panels_do_not_overlap():
    """Each has a place of its own on the grid of 24, an id, and a title."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_every_alert_says_what_to_do():
    """A severity, a summary, and where to look."""
    for rule in every_rule():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description"}


def promtool(*arguments):
    """What it says; fails where it does."""
    ran = subprocess.run(
        [str(PROMTOOL), *arguments],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed"
)


@needs_promtool
def test_prometheus_reads_the_rules():
    """And its own unit tests of the alerts pass: when each fires, when it does not."""
    assert "SUCCESS" in promtool("check", "rules", "rules.yaml")
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yaml")


@needs_promtool
def test_prometheus_reads_the_dashboards_expressions(tmp_path):
    """Each as the expression of a rule."""
    rules = [
        {"record": f"panel:number:{n}", "expr": e}
        for n, e in enumerate(dashboard_expressions())
    ]
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


@needs_promtool
async def test_prometheus_finds_nothing_wrong_with_a_scrape(tmp_path):
    """`promtool check metrics`: names, units and help as its authors recommend them."""
    async with FakeUpstream() as upstream, gateway_over(tmp_path, upstream) as gateway:
        await gateway.chat(asking(usage=True))
        text = (await gateway.admin("/metrics")).body
    process = await asyncio.create_subprocess_exec(
        str(PROMTOOL),
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(text)
    wrong = [
        line
        for line in said.decode().splitlines()
        # Watt hours are what everybody in this field counts in, and what answers tell.
        if not ("watt_hours" in line and "hours" in line)
    ]
    assert wrong == []
