"""A workload says itself what the provider is asked for."""

import json

import pytest

from benchmarks.load.workloads import USUAL, WORKLOADS, models, named


def test_a_name_may_carry_the_number_of_connections():
    """`S2@400` is S2 with 400 connections, and keeps its name in the raw file."""
    assert named("S2@400").connections == 400
    assert named("S2@400").name == "S2@400"
    assert named("S2").connections == 200


def test_an_unknown_name_is_an_error():
    """A typing mistake does not measure something else."""
    with pytest.raises(KeyError):
        named("S9")


def test_the_window_is_scaled():
    """A short look is for trying out."""
    assert named("S2", 0.5).window_ms == WORKLOADS["S2"].window_ms // 2


@pytest.mark.parametrize("name", WORKLOADS)
def test_bodies_are_chat_requests(name):
    """Usage is asked for by the caller only where the proxy does not ask by itself."""
    load = WORKLOADS[name]

    asking = json.loads(load.body(load.model, asks_usage=True))
    silent = json.loads(load.body(load.model, asks_usage=False))

    assert asking["model"] == load.model
    assert asking.get("stream", False) is load.streams
    assert ("stream_options" in asking) is load.streams
    assert "stream_options" not in silent


def test_the_long_prompt_is_as_long_as_it_says():
    """200 kB within a hundredth, escapes included."""
    load = WORKLOADS["L"]

    assert abs(len(load.body(load.model, asks_usage=False)) - 200_000) < 2_000


def test_every_model_is_listed():
    """A proxy that needs a list of models gets all of them."""
    assert {named(name).model for name in USUAL} <= set(models())
