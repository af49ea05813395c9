"""The image: what it listens on, what is in it, and that its steps work.

No engine is asked: the commands are run by a shell, in a folder in the image's place.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import lowproxy
from lowproxy.config import Server, Timeouts
from tests.deploy.tree import DEPLOY, DOCKERFILE, ROOT, dockerfile, served

GUIDE = DOCKERFILE.with_name("README.md")
REQUIREMENTS = DOCKERFILE.with_name("requirements.txt")
IMAGE = f"lowproxy:{lowproxy.__version__}"
HADOLINT = shutil.which(
    "hadolint", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
)
STEP_S = 300.0  # a download, on a slow line


def instructions(text):
    """Every instruction with its argument, lines that go on joined, in order."""
    bare = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", bare)
    return [line.split(" ", 1) for line in joined.splitlines() if line.strip()]


def stages():
    """The instructions of each stage."""
    found: list[list[tuple[str, str]]] = []
    for name, argument in instructions(DOCKERFILE.read_text()):
        if name == "FROM":
            found.append([])
        elif found:
            found[-1].append((name, argument))
    return found


def copied():
    """What is copied from the tree into the first stage."""
    first = [argument for name, argument in stages()[0] if name == "COPY"]
    return [word for argument in first for word in argument.split()[:-1]]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_the_linter_finds_nothing():
    """Not even a remark on style, and nothing is switched off."""
    command = [str(HADOLINT), "--disable-ignore-pragma", "-t", "style", str(DOCKERFILE)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_an_exact_version():
    """Both stages have the same one, of a Python that the package takes."""
    froms = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)

    assert set(froms) == {"${BASE}"}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", base)


def test_the_image_listens_on_the_ports_that_it_says():
    """The default command opens what EXPOSE names, beyond the container."""
    (command,) = dockerfile("CMD")
    name, *words = yaml.safe_load(command)
    options = served(words)

    assert name == "serve"
    assert options.listen == f"0.0.0.0:{Server().listen.port}"
    assert options.admin_listen == f"0.0.0.0:{Server().admin_listen.port}"
    assert dockerfile("EXPOSE") == [
        f"{Server().listen.port} {Server().admin_listen.port}"
    ]


def test_nobody_is_root():
    """A number, so that a cluster can see that it is not 0."""
    assert dockerfile("USER") == ["10001:10001"]


def test_the_image_is_built_under_the_programs_version():
    """The guide's commands and the manifests name the image of this version."""
    files = [GUIDE, *(DEPLOY / "kubernetes").rglob("*.yaml")]
    tags = {
        tag
        for file in files
        for tag in re.findall(r"\blowproxy:[0-9][\w.]*", file.read_text())
    }

    assert tags == {IMAGE}


def test_the_engine_waits_for_the_drain():
    """It kills after ten seconds by itself; the guide's command says otherwise."""
    (patience_s,) = re.findall(r"--stop-timeout (\d+)", GUIDE.read_text())

    assert int(patience_s) > Timeouts().drain_s


def test_the_image_has_what_the_build_reads():
    """What is copied exists, and is let through by the list of what is sent."""
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()

    assert set(copied()) == {line[1:] for line in ignore if line.startswith("!")}
    for name in copied():
        assert (ROOT / name).exists(), name


def test_every_dependency_is_pinned():
    """Each of setup.cfg's has one version, which it may have, and its hashes."""
    pinned = {}
    for entry in re.split(r"\n(?=\S)", REQUIREMENTS.read_text()):
        if not entry.startswith("#"):
            assert "--hash=sha256:" in entry
            each = Requirement(entry.partition("\\")[0].strip())
            (version,) = each.specifier
            assert version.operator == "=="
            pinned[canonical(each.name)] = version.version

    for wanted in required():
        assert canonical(wanted.name) in pinned, RENEW
        assert wanted.specifier.contains(pinned[canonical(wanted.name)]), RENEW


RENEW = "renew deploy/docker/requirements.txt: the command is in its first lines"


def required():
    """What setup.cfg asks for."""
    text = (ROOT / "setup.cfg").read_text()
    (block,) = re.findall(r"^install_requires =\n((?:[ ]{4}.*\n)+)", text, re.MULTILINE)
    lines = [line.strip() for line in block.splitlines()]
    return [Requirement(line) for line in lines if not line.startswith("#")]


def canonical(name):
    """A distribution's name as an index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.e2e
@pytest.mark.skipif(
    "LOWPROXY_PYPI" not in os.environ, reason="LOWPROXY_PYPI is not set: no downloads"
)
def test_the_steps_work(tmp_path):
    """Run by a shell, on the files that are sent: what comes out serves, and cannot install.

    Every hash is checked, every dependency comes as a wheel.
    """
    base, source, target = (tmp_path / name for name in ("base", "src", "opt"))
    venv.create(base, with_pip=True)
    usr = tmp_path / "usr"  # where the base image has its Python
    (usr / "lib/python3.11/ensurepip").mkdir(parents=True)
    for name in copied():
        place = source / Path(name).name
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(
            ROOT / name, ensured(place)
        )
    env = {**os.environ, "PATH": f"{base / 'bin'}:{os.environ['PATH']}"}
    for command in [arg for stage in stages() for name, arg in stage if name == "RUN"]:
        here = command.replace("/opt/lowproxy", str(target))
        here = here.replace("/usr/local", str(usr))
        here = here.replace("/var/lib/lowproxy", str(tmp_path / "state"))
        if os.getuid() != 0:  # only root may give a folder away
            here = here.replace("--owner 10001 --group 10001", "")
        shell(here, source, env)

    program = target / "bin" / "lowproxy"
    assert shell(f"{program} --version", tmp_path, env).strip() == (
        f"lowproxy {lowproxy.__version__}"
    )
    assert "psycopg" in shell(
        f"{target}/bin/python -c 'import psycopg, redis; print(psycopg)'", tmp_path, env
    )
    assert "listen" in shell(f"{program} check", tmp_path, env)
    held = {each.name for each in target.glob("lib/python*/site-packages/*")}
    assert not held & {"pip", "setuptools", "wheel"}
    with pytest.raises(AssertionError, match="No module named pip"):
        shell(f"{base / 'bin' / 'python'} -m pip --version", tmp_path, env)


def ensured(path):
    """A path in a folder that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def shell(command, folder, env):
    """What a command prints; it has to succeed."""
    done = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=folder,
        env={**env, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
