"""`lowproxy catalog` lists, checks and compares, for people and for programs."""

import json

import pytest

from lowproxy.cli import main

OWN = """
[[providers]]
id = "mistral"
stream_options = true
[[providers]]
id = "acme"
api_key_env = ""
source = "https://acme.example/models"
source_date = 2026-11-01
  [[providers.endpoints]]
  region = "eu-west"
  zone = "FR"
  base_url = "https://api.acme.example/v1"
[[models]]
id = "acme/small"
total_params_b = 24
source = "https://acme.example/models"
source_date = 2026-11-01
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A configuration, where the command looks for one."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return path


def called(capsys, *words):
    """The exit code and what was printed."""
    code = main(["catalog", *words])
    return code, capsys.readouterr().out


def test_the_list_has_places_with_their_sources(own, capsys):
    """Region, zone, provenance, source and date; the operator's rows among the built-in ones."""
    code, text = called(capsys, "list")
    lines = text.splitlines()
    assert code == 0
    assert lines[0].split() == (
        ["PROVIDER", "REGION", "ZONE", "PROVENANCE", "DATE", "BASE", "URL", "SOURCE"]
    )
    (acme,) = (line for line in lines if line.startswith("acme"))
    assert acme.split() == [
        "acme",
        "eu-west",
        "FR",
        "declared",
        "2026-11-01",
        "https://api.acme.example/v1",
        "https://acme.example/models",
    ]
    assert any("api.openai.com" in line for line in lines)


def test_one_providers_models(own, capsys):
    """With prices, and whether their size is known."""
    _, text = called(capsys, "list", "acme", "--models")
    assert [line.split()[:6] for line in text.splitlines()[1:]] == [
        ["acme/small", "acme", "-", "-", "-", "known"]
    ]
    assert called(capsys, "list", "nobody") == (1, "no provider 'nobody'\n")


def test_the_list_for_programs(own, capsys):
    """Rows by name with all their options."""
    _, text = called(capsys, "list", "acme", "--json")
    rows = {row.pop("row"): row for row in json.loads(text)}
    assert rows["endpoint acme-eu-west-1 of acme"]["zone"] == "FR"
    assert rows["model acme/small at acme"]["total_params_b"] == 24


def test_the_built_in_catalogue_is_sound(capsys):
    """No problem in it, whatever is old or unknown."""
    code, text = called(capsys, "check")
    assert code == 0
    assert ": 0 problems," in text.splitlines()[-1]


def test_a_check_of_a_file_says_what_is_wrong(tmp_path, capsys):
    """All of it, and by its exit code; what is old is a warning."""
    path = tmp_path / "catalogue.toml"
    path.write_text(
        OWN.replace('zone = "FR"', 'zone = "XX"').replace("2026-11-01", "2020-01-01")
        + '[[models]]\nid = "acme/small"\n[[models]]\nid = "gone/x"\n'
    )
    code, text = called(capsys, "check", str(path), "--json")
    found = {(row["kind"], row["row"], row["text"]) for row in json.loads(text)}
    assert code == 1
    assert ("problem", "model acme/small at acme", "is there 2 times") in found
    assert ("problem", "model gone/x at gone", "no such provider") in found
    assert ("problem", "provider mistral", "source: missing") in found
    place = "endpoint acme-eu-west-1 of acme"
    told = "zone XX is not in the annual table of grids"
    assert ("warning", place, told) in found
    old = [text for kind, _, text in found if "days ago" in text and kind == "warning"]
    assert len(old) == 2


def test_the_difference_that_a_configuration_makes(own, capsys):
    """Row by row, option by option."""
    code, text = called(capsys, "diff")
    assert code == 1
    assert "~ provider mistral\n    stream_options: False -> True\n" in text
    assert "+ provider acme\n" in text
    assert "- " not in text.replace("    ", "")


def test_a_provider_that_the_id_names_already_is_no_difference(own, capsys):
    """A row that overrides one option differs in that option."""
    row = '[[models]]\nid = "openai/gpt-4o-mini"\nprovider = "openai"\nprice_prompt = 0.1\n'
    own.write_text(OWN + row)
    _, text = called(capsys, "diff")
    head = "~ model openai/gpt-4o-mini at openai\n"
    assert head + "    price_prompt: 0.15 -> 0.1\n" in text
    assert "provider: not said" not in text


def test_two_catalogues_compared(own, tmp_path, capsys):
    """The one without a row, and the other; the same twice is no difference."""
    other = tmp_path / "other.toml"
    other.write_text(OWN.partition("[[models]]")[0])
    code, text = called(capsys, "diff", str(own), str(other), "--json")
    assert code == 1
    assert json.loads(text) == [
        {"what": "removed", "row": "model acme/small at acme", "options": {}}
    ]
    assert called(capsys, "diff", str(own), str(own)) == (0, "no difference\n")
    assert called(capsys, "diff", *[str(own)] * 3)[0] == 2


def test_without_the_built_in_rows(own, capsys):
    """What is switched off is gone."""
    own.write_text(OWN + "[catalogue]\nenabled = false\n")
    _, text = called(capsys, "diff", "--json")
    gone = [row["row"] for row in json.loads(text) if row["what"] == "removed"]
    assert "provider openai" in gone


def test_a_file_that_is_no_catalogue(tmp_path, capsys):
    """Its mistakes are named as those of a configuration are."""
    path = tmp_path / "catalogue.toml"
    path.write_text('[[providers]]\nid = "acme"\nregion = "eu"\n')
    assert main(["catalog", "check", str(path)]) == 78
    assert "providers[0].region: no such option" in capsys.readouterr().err
