"""The C tools compile and tell the truth about a short real load."""

import email.utils
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from benchmarks.load import process
from benchmarks.load.proxies import PROXIES, Place, lowproxy_config
from benchmarks.load.rig import build, call, rig
from benchmarks.load.workloads import Workload
from lowproxy.catalogue import open_config

needs_compiler = pytest.mark.skipif(
    not (shutil.which("cc") and shutil.which("taskset")), reason="needs cc and taskset"
)


@pytest.fixture(scope="module")
def stand():
    """The rig without a proxy."""
    with rig(tls=False) as found:
        yield found


def short(**what):
    """A load of a fraction of a second."""
    usual = {"connections": 4, "window_ms": 250, "warm_ms": 50}
    return Workload("short", "a short load", **{**usual, **what})


@needs_compiler
def test_streams_are_whole(stand):
    """Every stream has its events, each with the model asked for, and [DONE]."""
    load = short(events=7)

    found = call(stand, PROXIES["direct"], load, stand.provider, [])

    assert found["ok"] == found["answers"] > 0
    assert not any(found["errors"].values())
    # A stream that the window's edges cut through has some of its events counted.
    assert abs(found["events"] - 7 * found["answers"]) <= 7 * load.connections
    assert found["delay_us"]["count"] == found["events"]


@needs_compiler
@pytest.mark.parametrize("size", [52, 280, 4096])
def test_events_have_the_size_that_is_named(stand, size):
    """What the table calls an event's size is its bytes on the wire, within its framing."""
    load = short(events=1000, size=size)

    found = call(stand, PROXIES["direct"], load, stand.provider, [])

    assert not any(found["errors"].values())
    per_event = found["bytes"] / found["events"]
    assert size <= per_event <= size + 16


@needs_compiler
def test_no_two_answers_are_alike(stand):
    """What changes with every answer of a real provider does here, so that nothing can be known by heart."""
    changing = (
        "x-request-id",
        "openai-processing-ms",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
    )
    for streams in (False, True):
        body = json.dumps({"model": "bench-n1", "stream": streams}).encode()
        seen = []
        for _ in range(3):
            url = f"{stand.provider}/v1/chat/completions"
            with urllib.request.urlopen(url, body, timeout=5) as answer:
                told = answer.read().removeprefix(b"data: ").partition(b"\n")[0]
                date = email.utils.parsedate_to_datetime(answer.headers["date"])
                seen.append(
                    [json.loads(told)["id"], *map(answer.headers.get, changing)]
                )
            assert abs(time.time() - date.timestamp()) < 60
        for values in zip(*seen, strict=True):
            assert len({*values, None}) == 4


@needs_compiler
def test_a_missing_proof_is_seen(stand, tmp_path):
    """An answer without the text that shows the work was done is an error."""
    load = short(streams=False, unit="request")
    proxy = PROXIES["lowproxy"]

    found = call(stand, proxy, load, stand.provider, [])

    assert found["errors"]["without_proof"] == found["answers"] > 0


@needs_compiler
def test_wrong_events_are_seen(stand):
    """A stream with another number of events, or another model, is an error by name."""
    body = stand.folder / "wrong.json"
    load = short(events=7)
    body.write_bytes(load.body("bench-n5", asks_usage=True))
    command = [
        str(stand.caller),
        "--stream",
        "--port",
        stand.provider.rpartition(":")[2],
    ]
    command += ["--body", str(body), "--events", "7", "--in-event", '"model":"other"']
    command += ["--warm-ms", "20", "--window-ms", "100"]

    done = subprocess.run(command, capture_output=True, check=True)

    found = json.loads(done.stdout)
    assert found["errors"]["wrong_count"] == found["answers"] > 0
    assert found["errors"]["wrong_event"] == found["events"]


@needs_compiler
def test_slow_readers_are_slow_and_apart(stand):
    """They take what they are allowed to and none of their events is counted."""
    load = short(connections=1, slow=2, slow_rate=20_000, events=5, window_ms=500)

    found = call(stand, PROXIES["direct"], load, stand.provider, [])

    assert not any(found["errors"].values())
    assert 0 < found["slow_bytes"] <= 2 * 20_000
    assert abs(found["events"] - 5 * found["answers"]) <= 5


@needs_compiler
def test_a_dead_port_is_a_failure(stand):
    """Where nobody listens nothing is measured, and the load generator still ends."""
    nobody = f"http://127.0.0.1:{process.free_port()}"

    found = call(
        stand, PROXIES["direct"], short(streams=False, unit="request"), nobody, []
    )

    assert found["failed"].startswith("nothing arrived within the window")


@needs_compiler
def test_the_tools_compile_without_a_warning(tmp_path):
    """Compiled on the machine that measures, so any warning is somebody's trouble."""
    for source in ("provider", "caller"):
        file = Path(process.ROOT) / "benchmarks" / "load" / f"{source}.c"
        command = [
            "cc",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            str(tmp_path / source),
        ]
        subprocess.run([*command, str(file)], check=True)
    assert set(build(tmp_path)) == {"provider", "caller"}


def test_the_measured_gateway_has_its_duties(tmp_path):
    """It accepts the file; every model can be had at 20 endpoints, its size is known."""
    secrets = {"LOWROUTER_API_KEY": "lr-sk-" + "k" * 40, "BENCH_UPSTREAM_KEY": "sk-up"}
    file = tmp_path / "lowproxy.toml"
    file.write_text(lowproxy_config(Place(1, 2, tmp_path, "http://127.0.0.1:3")))

    _, catalogue = open_config(file, secrets)

    assert len(catalogue.endpoints) == 20
    assert len({endpoint.region for endpoint in catalogue.endpoints}) == 4
    assert all(
        model.facts and model.upstream_model != model.id for model in catalogue.models
    )
