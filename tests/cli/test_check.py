"""`lowproxy check` says what a configuration would do, and never a credential."""

import datetime

from lowproxy.catalogue import load, open_config
from lowproxy.cli import main
from lowproxy.cli.check import summary
from lowproxy.config import Config
from lowproxy.core.keys import hash_key


def said(config, environ):
    """The summary by its first word."""
    lines = list(summary(config, load(config, environ)))
    return {line.split()[0]: line for line in lines}, lines


def test_without_anything():
    """Defaults, a key to be made, the demo, and what would wake a real provider."""
    words, lines = said(Config(), {})

    assert words["configuration"].endswith("none found: built-in defaults")
    assert words["listen"].endswith("127.0.0.1:8080")
    assert words["admin"].endswith("127.0.0.1:8081")
    assert words["keys"].endswith("none: one is made at start")
    assert words["providers"].endswith("the embedded demo")
    assert "eu-west, eu-north, us-east, us-west" in words["demo"]
    assert "openai (OPENAI_API_KEY)" in lines[-1]


def test_with_keys_of_every_kind(tmp_path):
    """Who may do what, who is asked where and with how many keys."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(
        f"""
        [[keys]]
        name = "dev"
        hash = "{hash_key("x")}"
        region = "mars"
        models = ["openai/*"]
        enabled = false
        [[providers]]
        id = "acme"
        api_key_envs = ["ACME_A", "ACME_B"]
          [[providers.endpoints]]
          region = "eu-west"
          base_url = "https://acme.example/v1"
        [auto]
        models = ["openai/gpt-4o-mini", "mistral/codestral-latest"]
        """
    )
    environ = {
        "OPENAI_API_KEY": "sk-openai",
        "ACME_A": "sk-acme-a",
        "ACME_B": "sk-acme-b",
        "LOWROUTER_API_KEY": "my-own-key",
    }

    config, catalogue = open_config(path, environ)
    printed = "\n".join(summary(config, catalogue))

    assert f"configuration  {path}" in printed
    assert "dev (openai/*; mars; disabled), LOWROUTER_API_KEY" in printed
    assert "openai  us-east; key found; 17 models" in printed
    assert "acme    eu-west; 2 keys found; 0 models" in printed
    assert "auto           openai/gpt-4o-mini\n" in printed
    assert "note: auto.models: mistral/codestral-latest is known, but" in printed
    assert "note: the provider acme has no [[models]] row" in printed
    assert "note: the key dev is pinned to mars, where nothing is served" in printed
    for secret in ("sk-", "my-own-key", "sha256"):
        assert secret not in printed


def test_it_exits_with_0_and_prints_on_standard_output(tmp_path, capsys, monkeypatch):
    """What the command line says is part of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOWROUTER_API_KEY", raising=False)

    assert main(["check", "--listen", "127.0.0.1:1", "--admin-listen", "[::1]:2"]) == 0

    printed = capsys.readouterr()
    assert "listen         127.0.0.1:1\n" in printed.out
    assert "admin          [::1]:2\n" in printed.out
    assert printed.err == ""


def test_what_is_wrong_with_rates_is_said(tmp_path):
    """A provider paid in a currency that nobody has a rate for, and a rate of another quarter."""
    today = datetime.datetime.now(datetime.UTC).date()
    old, late = (today - datetime.timedelta(days=days) for days in (91, 89))

    def provider(name, currency):
        return f"""
        [[providers]]
        id = "{name}"
        api_key_env = "{name.upper()}_KEY"
        currency = "{currency}"
          [[providers.endpoints]]
          region = "eu-west"
          base_url = "https://{name}.example/v1"
        [[models]]
        id = "{name}/small"
        provider = "{name}"
        price_prompt = 0.15
        price_completion = 0.6
        """

    path = tmp_path / "lowproxy.toml"
    path.write_text(
        f"""
        [billing]
        currency = "EUR"
        rates = [
          {{ currency = "USD", value = 0.87, date = {old} }},
          {{ currency = "GBP", value = 1.15, date = {late} }},
        ]
        {provider("acme", "CNY")}{provider("bolt", "USD")}{provider("corp", "GBP")}
        """
    )
    environ = {f"{name}_KEY": "sk-x" for name in ("ACME", "BOLT", "CORP")}

    lines = list(summary(*open_config(path, environ)))

    notes = [line for line in lines if "rate" in line and line.startswith("note: ")]
    assert notes == [
        "note: the provider acme is paid in CNY, which has no [[billing.rates]] row: its costs in EUR are unknown",
        "note: the rate of USD in billing.rates is 91 days old",
    ]
