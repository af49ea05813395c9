"""The deployment guides: every command of theirs is run, or the guide says what it wants."""

import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load.figures import Run
from lowproxy.metrics import Metrics
from tests.deploy.front import NGINX, OPENSSL, running_front
from tests.deploy.tree import DEPLOY, ROOT
from tests.e2e.conftest import running_gateway

GUIDES = sorted(DEPLOY.rglob("README.md"))
NAMES = [path.parent.name for path in GUIDES]
# What a command may want that one machine does not have.
WANTS = (
    "wants a cluster",
    "wants a container engine",
    "wants systemd as process 1",
)
GUIDE_S = 400.0  # an installation, on a slow line
# What the guides' commands are run on: a copy, since building leaves files behind.
TREE = (
    *("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE"),
    *("lowproxy", "deploy", "benchmarks"),
)

wants_the_index = pytest.mark.skipif(
    "LOWPROXY_PYPI" not in os.environ, reason="LOWPROXY_PYPI is not set: no downloads"
)


def blocks(path):
    """Each block of commands of a guide: what is said of it, and the commands."""
    text = path.read_text()
    marked = re.findall(
        r"^<!-- ci: (.*?) -->\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    assert len(marked) == text.count("\n```sh\n"), "a block without `<!-- ci: ... -->`"
    return marked


def to_run(name):
    """The commands of a guide that are run, as one script, in order."""
    return "\n".join(
        commands
        for said, commands in blocks(DEPLOY / name / "README.md")
        if said == "run"
    )


@pytest.fixture
def tree(tmp_path):
    """A copy of what the commands are about."""
    nothing_built = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=nothing_built)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def run(script, tree, **env):
    """Runs a guide's commands by a shell that stops at the first failure; what they print."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    index = {name: v for name, v in os.environ.items() if name.startswith("PIP_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tree,
        env={**index, "PATH": path, "HOME": str(tree), "PYTHONPATH": str(tree), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GUIDE_S,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# --- what is not run ---------------------------------------------------------------------


@pytest.mark.parametrize("path", GUIDES, ids=NAMES)
def test_a_block_is_run_or_says_what_it_wants(path):
    """And it wants what one machine does not have."""
    for said, _ in blocks(path):
        assert said == "run" or said.removeprefix("not run, ").startswith(WANTS), said


@pytest.mark.parametrize("path", GUIDES, ids=NAMES)
def test_the_commands_are_well_formed(path):
    """The shell can read them all, and each file of ours that they name is there."""
    for _, commands in blocks(path):
        done = subprocess.run(
            ["bash", "-n", "-c", commands], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        for word in shlex.split(commands, comments=True):
            if word.startswith("deploy/"):
                assert list(ROOT.glob(word)), word


@pytest.mark.parametrize("path", GUIDES, ids=NAMES)
def test_links_lead_somewhere(path):
    """Every relative link is a file of the tree."""
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert target.startswith("https:") or (path.parent / target).exists(), target


def test_the_runbook_knows_the_metrics():
    """Every metric that it tells to look at is exported."""
    exported = set(
        re.findall(r"^# TYPE (\S+) ", Metrics().exposition().decode(), re.MULTILINE)
    )
    text = (DEPLOY / "edge" / "README.md").read_text()
    named = set(re.findall(r"`((?:lowproxy|process)_[a-z_]+)`", text))

    assert len(named) > 10
    assert named <= exported


def test_the_runbook_has_the_figures_of_the_load_test():
    """CPU per event and per request as measured in the run that it names, and what follows from them."""
    text = " ".join((DEPLOY / "edge" / "README.md").read_text().split())
    (named,) = set(re.findall(r"benchmarks/results/([\w-]+\.json)", text))
    run = Run([json.loads((ROOT / "benchmarks" / "results" / named).read_text())])
    event_us, request_us = (
        statistics.median(run.at("lowproxy", name, "cpu_us")) for name in ("S2", "U")
    )
    events, streams, requests = (
        int(number)
        for number in re.findall(
            r"0\.6 busy passes on (\d+) events a second, which is (\d+) streams of 50, "
            r"or (\d+) unary",
            text,
        )[0]
    )

    assert f"takes {event_us:.0f} us of a core" in text
    assert f"unary request {request_us:.0f} us" in text
    assert events == pytest.approx(0.6e6 / event_us, rel=0.02)
    assert streams == pytest.approx(events / 50, rel=0.02)
    assert requests == pytest.approx(0.6e6 / request_us, rel=0.02)


# --- what is run -------------------------------------------------------------------------


@pytest.mark.e2e
@wants_the_index
@pytest.mark.skipif(
    None in map(shutil.which, ("systemctl", "systemd-sysusers", "curl")),
    reason="systemd or curl is not installed",
)
def test_the_guide_of_the_service(tree, tmp_path):
    """Installed into a folder in this machine's place; a gateway answers where the unit's would."""
    image = tmp_path / "image"
    image.mkdir()
    with running_gateway(tmp_path) as gateway:
        admin = gateway.admin_url.removeprefix("http://")
        script = to_run("systemd").replace("127.0.0.1:8081", admin)
        # A user of the image is not one of this machine's.
        said = run(script, tree, DESTDIR=str(image))

    assert "lr-sk-" in said
    assert "Overall exposure level" in said
    wanted = image / "etc/systemd/system/multi-user.target.wants"
    assert {path.name for path in wanted.iterdir()} == {
        "lowproxy@1.service",
        "lowproxy@2.service",
    }
    assert (image / "opt/lowproxy/bin/lowproxy").exists()


@pytest.mark.e2e
@pytest.mark.skipif(
    shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    is None,
    reason="kubectl is not installed",
)
def test_the_guide_of_the_cluster(tree):
    """Keys are drawn, Secrets and overlays rendered, configurations read; no cluster is asked."""
    said = run(
        to_run("kubernetes"),
        tree,
        LOWROUTER_API_KEY="lr-sk-" + "0" * 43,
        OPENAI_API_KEY="sk-nobodys",
    )

    assert said.count("kind: Secret") == 2
    assert said.count("\nkind: Deployment") == 3
    assert said.count("listen         ") == 2


@pytest.mark.e2e
@pytest.mark.skipif(
    None in (NGINX, OPENSSL, shutil.which("curl")),
    reason="nginx, openssl or curl is not installed",
)
def test_the_guide_of_the_edge(tree, tmp_path):
    """Installed into a folder in this machine's place; a stream comes through a front that is up."""
    image = tmp_path / "image"
    (image / "etc/lowproxy/keys").mkdir(parents=True)
    shutil.copy(
        DEPLOY / "systemd" / "lowproxy.toml.example",
        image / "etc/lowproxy/lowproxy.toml",
    )
    with (
        running_gateway(tmp_path) as gateway,
        running_front(tmp_path, gateway.port) as front,
    ):
        script = to_run("edge")
        for said, here in (
            ("127.0.0.1:8081", gateway.admin_url.removeprefix("http://")),
            ("https://gateway.example", f"https://localhost:{front.port}"),
            ("sysctl -p", sysctl()),
        ):
            assert said in script
            script = script.replace(said, here)
        # Of the copy: ports and places that a test may use.
        shutil.copy(tmp_path / "nginx.conf", tree / "deploy/edge/nginx.conf")
        printed = run(
            script,
            tree,
            DESTDIR=str(image),
            CURL_CA_BUNDLE=str(front.certificate),
            LOWROUTER_API_KEY=gateway.key,
            OPENAI_API_KEY="sk-nobodys",
        )

    assert "data: [DONE]" in printed
    assert '"lowrouter"' in printed
    key = image / "etc/lowproxy/keys/openai"
    assert oct(key.stat().st_mode)[-3:] == "640"


def sysctl():
    """The kernel's settings for a network namespace alone, or where we may not make one, read over."""
    may = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return "unshare -n sysctl -p" if may.returncode == 0 else "test -s"
