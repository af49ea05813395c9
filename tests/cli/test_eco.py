"""`lowproxy eco`: estimates step by step, methodologies, comparisons."""

import io
import json
import re
import sys
from importlib.resources import files

import pytest

from lowproxy.cli import main
from lowproxy.core.eco_methods import METHODS

PAGE = (files("lowproxy") / "data" / "METHODOLOGY.md").read_text()
EXAMPLE = [
    *("--model", "meta-llama/Llama-3.3-70B-Instruct", "--zone", "FR"),
    *("--prompt-tokens", "500", "--cached-tokens", "100"),
    *("--completion-tokens", "300"),
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """No configuration file and no provider's key: the demo."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.environ", {})


def estimated(capsys, *argv):
    """The JSON of one estimate."""
    assert main(["eco", "estimate", "--json", *argv]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_example_of_the_page(capsys):
    """To six digits, bounds and all."""
    fields = estimated(capsys, *EXAMPLE)
    example = PAGE.split("## One example, by hand")[1].split("##")[0]

    for name in ("energy_wh", "carbon_g", "energy_wh_low", "energy_wh_high"):
        assert f"{fields[name]:.6g}" in example
    assert fields["gpu_wh"] == 0.10515
    assert fields["it_wh"] == 0.16824


def test_the_derivation_is_the_page_s(capsys):
    """The sums of the page are printed, in its order, and can be redone."""
    assert main(["eco", "estimate", *EXAMPLE]) == 0
    printed = capsys.readouterr().out

    for number in ("0.178926875", "0.0106708992", "0.2540123742", "28.946"):
        assert number in PAGE
        assert re.search(rf"  {re.escape(number)} mWh", printed)
    assert "64 requests at a time" in printed
    assert "https://huggingface.co/meta-llama/Llama-3.3-70B-Instruct" in printed
    assert "owid-ember" in printed


def test_json_has_what_a_replay_needs(capsys):
    """Each stage with bounds, the batch, the sources."""
    fields = estimated(
        capsys, "--model", "Qwen/Qwen3-32B", "--completion-tokens", "1000"
    )

    for name in ("gpu_wh", "it_wh", "energy_wh", "carbon_g"):
        low, high = fields[name + "_low"], fields[name + "_high"]
        assert 0 < low <= fields[name] <= high
    assert fields["batch"] == 64
    assert fields["boundary"] == "facility"
    assert fields["grid"]["blended"]
    assert fields["model"]["source"].startswith("https://")
    assert fields["coefficients"]
    assert all(len(row["sha256"]) == 64 for row in fields["data"])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("mistral/mistral-large-latest", "mistral/mistral-large-latest"),
        ("nvidia/DeepSeek-R1-0528-NVFP4", "deepseek-ai/DeepSeek-R1"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "Qwen/Qwen3-30B-A3B"),
    ],
)
def test_ids_of_ours_and_of_hugging_face(capsys, model, name):
    """Either is found, at the precision that the id says."""
    fields = estimated(capsys, "--model", model, "--completion-tokens", "1")

    assert fields["model"]["name"].startswith(name)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_every_methodology(capsys, method, as_json):
    """By version or short name, with its own batch."""
    for named in (method.version, method.name):
        argv = [*EXAMPLE, "--methodology", named, *as_json]
        assert main(["eco", "estimate", *argv]) == 0
        assert method.version in capsys.readouterr().out
        assert main(["eco", "methodologies", named, *as_json]) == 0
        assert method.version in capsys.readouterr().out


def test_a_declared_pue_has_no_bounds_of_its_own(capsys):
    """The facility is the servers times just that."""
    fields = estimated(capsys, *EXAMPLE, "--pue", "1.5")

    for ending in ("", "_low", "_high"):
        expected = pytest.approx(fields["it_wh" + ending] * 1.5, rel=1e-5)
        assert fields["energy_wh" + ending] == expected


def test_the_operator_s_own_row_goes_first(capsys, tmp_path):
    """As it does in the gateway."""
    file = tmp_path / "lowproxy.toml"
    file.write_text(
        """
        [catalogue]
        enabled = false
        [[providers]]
        id = "acme"
          [[providers.endpoints]]
          region = "eu-west"
          zone = "FR"
          base_url = "https://acme.example/v1"
        [[models]]
        id = "acme/assistant"
        total_params_b = 24
        """
    )
    argv = ["--model", "acme/assistant", "--completion-tokens", "1"]
    fields = estimated(capsys, *argv, "--config", str(file))

    assert fields["model"]["total_params_b"] == 24
    assert "source" not in fields["model"]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--model", "acme/secret-sauce"], 1, "'acme/secret-sauce' is not known"),
        (["--model", "Qwen/Qwen3-8B", "--zone", "XX"], 1, "no zone 'XX'"),
        (["--model", "Qwen/Qwen3-8B", "--zone", "XXX"], 1, "--zone takes a country"),
        (["--model", "Qwen/Qwen3-8B", "--region", "moon"], 1, "no region 'moon'"),
        (["--model", "Qwen/Qwen3-8B", "--cached-tokens", "1"], 2, "--cached-tokens"),
        (["--model", "Qwen/Qwen3-8B", "--completion-tokens", "0"], 2, "no tokens"),
    ],
)
def test_what_cannot_be_estimated(capsys, argv, code, said):
    """Said on standard error; never a guess on standard output."""
    assert main(["eco", "estimate", "--completion-tokens", "9", *argv]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    "argv",
    [
        ["--pue", "0.9"],
        ["--pue", "nan"],
        ["--pue", "x"],
        ["--prompt-tokens", "-1"],
        ["--prompt-tokens", "1e3"],
        ["--prompt-tokens", "9" * 400],
        ["--methodology", "v9"],
        ["--zone", "FR", "--region", "eu-west"],
    ],
)
def test_called_wrongly(argv):
    """Exit 2."""
    with pytest.raises(SystemExit) as caught:
        main(["eco", "estimate", "--model", "Qwen/Qwen3-8B", *argv])
    assert caught.value.code == 2


def test_zones_are_read_in_any_case(capsys):
    """And a part of a country that is not in the table is its country."""
    argv = ["--model", "Qwen/Qwen3-8B", "--completion-tokens", "9", "--zone"]

    assert estimated(capsys, *argv, "fr")["grid"]["zone"] == "FR"
    assert estimated(capsys, *argv, "FRA")["grid"]["zone"] == "FR"
    assert estimated(capsys, *argv, "wor")["grid"]["zone"] == "WOR"
    assert estimated(capsys, *argv, "FR-ARA")["grid"]["zone"] == "FR"


RECORDS = """\
{"event":"gateway.up","url":"http://127.0.0.1"}
{"event":"request.done","model":"openai/gpt-4o-mini","provider":"demo",\
"region":"eu-west","prompt_tokens":100,"completion_tokens":50}
{"event":"request.done","http_status":401,"status":"client_error"}
{"model":"Qwen/Qwen3-32B","zone":"SE","prompt_tokens":100,"completion_tokens":50}
{"model":"Qwen/Qwen3-32B","region":"eu-west","prompt_tokens":1,"completion_tokens":5}
{"model":"acme/secret","region":"eu-west","prompt_tokens":1,"completion_tokens":5}
"""


def test_compare(capsys, tmp_path):
    """Each request by both; a place of the catalogue has its zone."""
    (tmp_path / "log").write_text(RECORDS)
    argv = ["eco", "compare", "roofline", "v0.4-compat", "--records", "log"]

    assert main([*argv, "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert (fields["lines"], fields["total"]["requests"]) == (6, 3)
    assert fields["blended_grid"] == 1
    assert sum(fields["skipped"].values()) == 3
    assert fields["skipped"]["size not known of acme/secret"] == 1
    mini = fields["models"]["openai/gpt-4o-mini"]["first"]
    assert mini["carbon_g"] == pytest.approx(mini["energy_wh"] * 0.04144, rel=1e-5)
    assert mini["carbon_g_low"] <= mini["carbon_g"] <= mini["carbon_g_high"]

    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "6 lines: 3 used, 3 skipped" in printed
    assert "1 size not known of acme/secret" in printed
    assert "1 without a country" in printed
    assert "total" in printed


def test_compare_reads_standard_input(capsys, monkeypatch):
    """As the end of a pipe."""
    lines = io.TextIOWrapper(io.BytesIO(RECORDS.encode()))
    monkeypatch.setattr(sys, "stdin", lines)

    assert main(["eco", "compare", "roofline", "ecologits", "--records", "-"]) == 0
    assert "3 used" in capsys.readouterr().out


def test_compare_with_nothing_to_compare(capsys, tmp_path):
    """Exit 1: no file, or none with a request."""
    argv = ["eco", "compare", "roofline", "ecologits", "--records"]
    (tmp_path / "empty").write_text("")

    assert main([*argv, "empty"]) == 1
    assert "0 lines: 0 used" in capsys.readouterr().out
    assert main([*argv, "none"]) == 1
    assert "No such file" in capsys.readouterr().err


def test_the_list(capsys):
    """One line each, the default marked."""
    assert main(["eco", "methodologies"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert [line.split()[0] for line in lines[1:]] == list(METHODS)
    assert [line.endswith("(default)") for line in lines[1:]] == [True, False, False]
