"""The page for people says what the code does."""

import re
from importlib.resources import files

import pytest

from benchmarks.eco.fit import report
from lowproxy.core import eco_roofline
from lowproxy.core.eco_block import eco_fields, six
from lowproxy.core.eco_methods import DEFAULT, METHODS
from lowproxy.core.usage import Usage
from lowproxy.grid.annual import AnnualGrid
from lowproxy.grid.model_table import load_models

PAGE = (files("lowproxy") / "data" / "METHODOLOGY.md").read_text()
EXAMPLE = PAGE.split("## One example, by hand")[1].split("##")[0]
LINE = re.compile(r"^ {4} *(\S.*?) {2,}(.*?) += ([\d.]+) ?(\w*)$", re.MULTILINE)
FACTS = load_models().facts("meta-llama/Llama-3.3-70B-Instruct")


def rates():
    assert FACTS is not None
    return DEFAULT.coefficients(FACTS, AnnualGrid.load().intensity("FR", ""), None)


def worked_lines():
    return [
        (name.strip(), sum_, float(result))
        for name, sum_, result, _ in LINE.findall(EXAMPLE)
        if any(sign in sum_ for sign in "×/+")
    ]


@pytest.mark.parametrize(("name", "sum_", "result"), worked_lines())
def test_each_line_of_the_example_adds_up(name, sum_, result):
    """With nothing but the four operations."""
    written = sum_.replace("×", "*").replace("−", "-")
    assert re.fullmatch(r"[\d.()*/+ -]+", written), name

    # The text was matched to be an arithmetic expression and nothing else.
    assert eval(written) == pytest.approx(result, rel=1e-8)


def test_the_example_is_not_empty():
    """All its sums were found."""
    assert len(worked_lines()) == 12


def test_the_example_is_the_response():
    """To six digits, with its bounds."""
    impact = rates().impact(Usage(500, 300, cached=100))
    fields = eco_fields(impact, full=True)
    results = {name: result for name, _, result in worked_lines()}

    assert fields["energy_wh"] == six(results["energy"])
    assert fields["carbon_g"] == six(results["carbon"])
    assert fields["carbon_per_1k_tokens_g"] == six(results["per 1000"])
    for name in (
        "energy_wh",
        "carbon_g",
        "carbon_per_1k_tokens_g",
        "energy_wh_low",
        "energy_wh_high",
    ):
        assert f"{fields[name]:.6g}" in EXAMPLE, name


@pytest.mark.parametrize(
    "name",
    [
        "BYTES_MWH",
        "KV_MWH",
        "ACTIVE_MWH",
        "TOKEN_MWH",
        "PREFILL_MWH",
        "CACHED_SHARE",
        "GPU_TO_IT",
        "PUE",
        "PUE_LOW",
        "PUE_HIGH",
        "RESIDUAL",
        "BATCH",
        "BATCH_BUSY",
        "BATCH_QUIET",
    ],
)
def test_every_coefficient_is_on_the_page(name):
    """As the code has it."""
    value = getattr(eco_roofline, name)
    spellings = {f"{value:g}", f"{value:.2f}"}

    assert any(re.search(rf"(?<![\d.]){re.escape(s)}(?![\d])", PAGE) for s in spellings)


def test_the_table_of_errors_is_the_fit_s():
    """To the digits that it shows."""
    for name, row in report()["errors"].items():
        line = (
            f"| {name} | {row['points']} | {row['factor']:.2f} "
            f"| ×{row['spread']:.2f} | ×{row['worst']:.2f} |"
        )
        assert line in PAGE, name


def test_every_method_is_on_the_page():
    """By version and by name."""
    for method in METHODS.values():
        assert f"`{method.version}`" in PAGE
        assert f"`{method.name}`" in PAGE
