"""`lowproxy explain`: where a request would go and why."""

import json
import os

import pytest

from lowproxy.cli import main
from lowproxy.core.keys import hash_key
from tests.gateway import MODEL, Place, config_text

EXTRA = f"""
[[keys]]
name = "eu"
hash = "{hash_key("k")}"
region = "eu-west"
models = ["acme/*"]
"""


@pytest.fixture
def explained(tmp_path, monkeypatch, capsys):
    """Runs the command over two places; gives exit code and output."""
    file = tmp_path / "lowproxy.toml"
    places = [
        Place("https://one.example/v1", provider="p1"),
        Place("https://two.example/v1", "us-east", "p2", "US-MIDA-PJM"),
    ]
    file.write_text(config_text(places, extra=EXTRA))
    monkeypatch.setenv("P1_KEY", "canary-1")
    monkeypatch.setenv("P2_KEY", "canary-2")
    monkeypatch.delenv("LOWROUTER_API_KEY", raising=False)

    def run(*options):
        code = main(["explain", "--config", str(file), *options])
        out = capsys.readouterr()
        assert "canary" not in out.out + out.err
        return code, out.out + out.err

    return run


def test_candidates_best_first(explained):
    """With place, expected grams, seconds and price; what the order goes by, and who price alone would take."""
    code, text = explained(MODEL)
    assert code == 0
    head, _, first, second, choice = text.splitlines()
    assert head.startswith("ordered by carbon (low_carbon: carbon 0.7, ")
    assert first.startswith("  1. p1-eu-west/acme/small  region eu-west (declared, FR)")
    assert " g CO2e  unknown s  0.000748 USD  score " in first
    assert second.startswith("  2. p2-us-east/acme/small")
    assert "by price alone: p1-eu-west/acme/small" in choice


def test_as_json(explained):
    """The trace itself, of a request of the size that is given."""
    code, text = explained(
        MODEL, "--json", "--prompt-tokens", "64", "--max-tokens", "8"
    )
    assert code == 0
    told = json.loads(text)
    assert told["expected"] == {"prompt_tokens": 64, "completion_tokens": 8}
    assert [row["provider"] for row in told["candidates"]] == ["p1", "p2"]
    code, text = explained(MODEL, "--json", "--zone", "DE")
    assert code == 1
    told = json.loads(text)
    assert told["error"]["code"] == "no_eligible_provider"
    assert {r["rule"] for r in told["trace"]["rejected"]} == {"route.zone"}


def test_what_a_request_may_say(explained):
    """As in its body; what is wrong is said as there."""
    assert (
        "route.max_carbon_g: expected " in explained(MODEL, "--max-carbon", "1e-9")[1]
    )
    assert explained(MODEL, "--sort", "latency")[1].startswith("ordered by latency")
    code, text = explained(MODEL, "--sort", "speed")
    assert (code, text.startswith("400 invalid_request: provider.sort")) == (1, True)


def test_rejections_have_reasons(explained):
    """The rule and what it says."""
    code, text = explained(MODEL, "--region", "us")
    assert code == 0
    assert "  1. p2-us-east/acme/small" in text
    assert "  -  p1-eu-west/acme/small: route.region: " in text
    _, text = explained(MODEL, "--provider", "p1")
    assert "p2-us-east/acme/small: route.provider: " in text


def test_as_a_key(explained):
    """Its policy is applied."""
    code, text = explained(MODEL, "--key", "eu")
    assert code == 0
    assert "p2-us-east/acme/small: key.region: the key is pinned to eu-west" in text
    code, text = explained(MODEL, "--key", "nobody")
    assert code == 2
    assert "'nobody'" in text
    assert "eu" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("acme/unknown",), "404 model_not_found: "),
        ((MODEL, "--region", "mars"), "503 no_eligible_provider: "),
        ((MODEL, "--key", "eu", "--region", "us-east"), "403 permission_denied: "),
    ],
)
def test_nothing_can_serve(explained, options, words):
    """1, and what the caller would be told."""
    code, text = explained(*options)
    assert code == 1
    assert text.startswith(words)


def test_pseudo_models(explained):
    """By carbon or by price."""
    assert explained("lowrouter/auto")[1].startswith("ordered by carbon")
    assert explained("lowrouter/auto-cheap")[1].startswith("ordered by price")


def test_the_demo(tmp_path, monkeypatch, capsys):
    """On a fresh machine it explains what the demo would do."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.endswith(("_KEY", "_TOKEN")):
            monkeypatch.delenv(name)
    assert main(["explain", "openai/gpt-4o-mini"]) == 0
    assert "demo-eu-north-1/openai/gpt-4o-mini" in capsys.readouterr().out
