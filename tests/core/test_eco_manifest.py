"""A methodology is described so that its figures can be worked out again."""

import hashlib
import math
from importlib.resources import files

import pytest

from lowproxy.core.eco import CarbonIntensity, ModelFacts
from lowproxy.core.eco_manifest import GRIDS, DataFile, formula_of, manifest, summary
from lowproxy.core.eco_methods import DEFAULT, METHODS, find_method
from lowproxy.core.usage import Usage
from lowproxy.grid.manifest import load_data_files

DENSE = ModelFacts(70.6, 70.6, 16, "https://example.org/card", kv_kb=327.68)
MIXTURE = ModelFacts(
    235, 22, 8, "https://example.org/card", kv_kb=192.5, experts=(8, 128)
)
USAGE = Usage(500, 300, 100)
FRANCE = CarbonIntensity("FR", 41.44, 41.44, 41.44, "owid-ember", "2025")


def numbers(name):
    """The coefficients of a method as its manifest gives them."""
    rows = manifest(find_method(name), load_data_files(), False)["coefficients"]
    return {row["name"]: row["value"] for row in rows}


@pytest.mark.parametrize("facts", [DENSE, MIXTURE], ids=["dense", "mixture"])
def test_roofline_by_its_manifest(facts):
    """Written out anew from the formula's text and the coefficients there."""
    c = numbers("roofline")
    total_b, a = facts.total_params_b, facts.active_params_b

    def gpu_wh(batch):
        touched = total_b
        if facts.experts:
            share = facts.experts[0] / facts.experts[1]
            routed = min((total_b - a) / (1 - share), total_b)
            touched = total_b - routed * (1 - share) ** batch
        touched *= facts.weight_bits / 8
        kv = facts.kv_kb / 1e6
        e_out = c["BYTES"] * touched / batch + c["KV"] * kv * (500 + 300 / 2)
        e_out += c["ACTIVE"] * a + c["TOKEN"]
        e_in = c["PREFILL"] * a
        return (e_out * 300 + e_in * (500 - 100) + c["CACHED"] * e_in * 100) / 1000

    impact = DEFAULT.estimate(facts, USAGE, FRANCE, None)
    per_gpu = c["GPU_TO_IT"]

    assert impact.energy_wh == pytest.approx(c["PUE"] * per_gpu * gpu_wh(c["BATCH"]))
    assert impact.energy_wh_low == pytest.approx(
        c["PUE_LOW"] * per_gpu * gpu_wh(c["BATCH_BUSY"]) / c["RESIDUAL"]
    )
    assert impact.energy_wh_high == pytest.approx(
        c["PUE_HIGH"] * per_gpu * gpu_wh(c["BATCH_QUIET"]) * c["RESIDUAL"]
    )
    assert impact.carbon_g == pytest.approx(impact.energy_wh * 41.44 / 1000)


def test_ecologits_by_its_manifest():
    """70.6 billion parameters at 16 bit need four GPUs of 80 GB."""
    c = numbers("ecologits")
    gpu = 4 * (c["ALPHA"] * math.exp(c["BETA"] * c["BATCH"]) * 70.6 + c["GAMMA"]) * 300
    token_s = c["LATENCY_B"] * 70.6 + c["LATENCY_BATCH"] * c["BATCH"] + c["LATENCY_0"]
    server = c["SERVER_KW"] / 3.6 * 4 / 8 / c["BATCH"] * token_s * 300

    impact = find_method("ecologits").estimate(DENSE, USAGE, FRANCE, 1.1)

    assert impact.energy_wh == pytest.approx(1.1 * (gpu + server))


def test_v04_compat_by_its_manifest():
    """The formula has no more than that."""
    c = numbers("v0.4-compat")
    impact = find_method("v0.4-compat").estimate(DENSE, USAGE, FRANCE, None)

    assert impact.energy_wh == pytest.approx((c["ALPHA"] * 70.6 + c["BETA"]) * 800)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_a_manifest_leaves_nothing_open(method):
    """Names in the formula are explained, coefficients have sources, files hashes."""
    shown = manifest(method, load_data_files(), is_active=True)
    text = " ".join(shown["formula"]["text"])

    assert shown["version"] == method.version
    assert shown["active"]
    assert shown["default"] is (method is DEFAULT)
    assert shown["batch"] == formula_of(method).batch
    assert shown["boundary"] == method.estimate(DENSE, USAGE, FRANCE, None).boundary
    assert shown["ecologits_version"] == "0.11.3"
    assert [row["at"] for row in shown["grid"]] == ["2025", "2025"]
    assert {"Apache-2.0", "CC-BY-4.0", "MPL-2.0"} <= set(shown["licenses"])
    for row in shown["coefficients"]:
        assert row["name"] in text or row["name"] == "PUE"
        assert row["source"].startswith(("https://", "benchmarks/eco/"))
    for row in shown["data"]:
        content = (files("lowproxy") / "data" / row["file"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["license"]


def test_every_data_file_of_the_estimate_is_hashed():
    """A table that ships and is not listed would be a hole in the replay."""
    shipped = {
        each.name
        for each in (files("lowproxy") / "data").iterdir()
        if each.name.endswith(".json")
    }

    assert {file.name for file in load_data_files()} == shipped


def test_a_changed_file_shows():
    """The hash is of the bytes, not of what they mean."""
    one = DataFile.read("x.json", GRIDS, b'{"license":"MPL-2.0","zones":{}}')
    other = DataFile.read("x.json", GRIDS, b'{"license":"MPL-2.0","zones":{} }')

    assert one.header == other.header == {"license": "MPL-2.0"}
    assert one.sha256 != other.sha256


def test_the_list_has_the_short_of_it():
    """One default, which is what the package ships as such."""
    rows = [summary(method, is_active=False) for method in METHODS.values()]

    assert [row["version"] for row in rows if row["default"]] == [DEFAULT.version]
    assert not any(row["active"] for row in rows)
