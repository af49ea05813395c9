"""The deployment guides: every command of theirs is run, or the guide says what it wants."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tree,
        env={"PATH": path, "HOME": str(tree), "PYTHONPATH": str(tree), **env},
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
    wanted = image / "etc/systemd/system/multi-user.target.wants/lowproxy.service"
    assert wanted.is_symlink()
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
