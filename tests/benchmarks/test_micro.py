"""The stages are the gateway's own functions, and their table says what was measured."""

from typing import Any

import orjson
import pytest

from benchmarks.load.proxies import CALLER_KEY, UPSTREAM_KEY, Place, lowproxy_config
from benchmarks.micro.__main__ import best_ns, in_pairs
from benchmarks.micro.stages import UNIT_BODY, stages
from benchmarks.micro.table import stage_table
from lowproxy.catalogue import open_config
from lowproxy.server.app import running


@pytest.fixture
async def parts(tmp_path):
    """The parts of a gateway that is up."""
    file = tmp_path / "lowproxy.toml"
    file.write_text(lowproxy_config(Place(0, 0, tmp_path, "http://127.0.0.1:9")))
    secrets = {"LOWROUTER_API_KEY": CALLER_KEY, "BENCH_UPSTREAM_KEY": UPSTREAM_KEY}
    async with running(*open_config(file, secrets)) as gateway:
        yield gateway.parts


async def test_every_stage_can_be_called_again_and_again(parts):
    """A stage that changed what it works on would time something else the second time."""
    for stage in stages(parts):
        first = stage.call()
        assert isinstance(stage.call(), type(first)), stage.name


async def test_stages_do_their_work(parts):
    """The named work is what is timed: the last events carry `lowrouter`, the body is spliced."""
    calls: dict[str, Any] = {stage.name: stage.call for stage in stages(parts)}

    assert b'"lowrouter":{' in calls["tail, first and last events"]()
    assert b'"eco":{' in calls["estimate, and write `lowrouter`"]()
    assert b"include_usage" in b"".join(calls["splice the body, 215 B"]())
    # Four regions, the key may use one: five of the twenty are left.
    assert len(calls["choose among 20 candidates"]().candidates) == 5


def test_the_unit_is_what_it_says():
    """215 bytes of a chat request."""
    assert len(UNIT_BODY) == 215
    assert orjson.loads(UNIT_BODY)["messages"]


def test_a_time_is_taken():
    """Something takes longer than nothing, and both take some time."""
    assert best_ns(lambda: None, repeats=1) > 0


def test_a_stage_is_timed_beside_the_unit():
    """Times of both, and their ratio."""
    took, unit, ratio = in_pairs(lambda: None, lambda: None, pairs=1)
    assert min(took, unit, ratio) > 0


def test_the_table():
    """Nanoseconds and multiples of the unit."""
    file = {
        "unit_ns": 500.0,
        "stages": [
            {"name": "read", "per": "request", "ns": 1250.0},
            {"name": "write", "per": "request", "ns": 1250.0, "units": 3.0},
        ],
    }

    assert "| read | request | 1,250 | 2.5 |" in stage_table(file)
    assert "| write | request | 1,250 | 3.0 |" in stage_table(file)
