"""What is deployed agrees with the program: ports, paths, times, names."""

import argparse
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import lowproxy
from lowproxy.catalogue import load, open_config
from lowproxy.cli.serve import add_arguments as serve_arguments
from lowproxy.config import ENV_KEY, SEARCHED, Config, Server, Timeouts

DEPLOY = Path(__file__).parents[1] / "deploy"
UNIT = DEPLOY / "systemd" / "lowproxy.service"
ENVIRONMENT = DEPLOY / "systemd" / "lowproxy.env.example"
SIDECAR = DEPLOY / "kubernetes" / "sidecar.yaml"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"

IMAGE = f"lowproxy:{lowproxy.__version__}"
ETC = str(SEARCHED[-1])
ANALYZE = shutil.which("systemd-analyze")
PROBES = {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
# Nobody's key, long enough to listen with.
CALLERS_KEY = "lr-sk-" + "0" * 43


def unit(option):
    """The values of an option of the unit, in order."""
    found = re.findall(rf"^{option}=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert found, option
    return found


def dockerfile(instruction):
    """The arguments of an instruction of the last stage."""
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    return re.findall(rf"^{instruction} (.*)$", last, re.MULTILINE)


@pytest.fixture(scope="module")
def manifests():
    """The sidecar's objects by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(SIDECAR.read_text())}


@pytest.fixture(scope="module")
def pod(manifests):
    """The pod's specification."""
    return manifests["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def sidecar(pod):
    """The gateway's container."""
    (found,) = pod["initContainers"]
    return found


@pytest.fixture(scope="module")
def config(manifests, tmp_path_factory):
    """The sidecar's configuration, read as the program reads it."""
    path = tmp_path_factory.mktemp("etc") / "lowproxy.toml"
    path.write_text(manifests["ConfigMap"]["data"]["lowproxy.toml"])
    return open_config(path, {ENV_KEY: CALLERS_KEY})[0]


def parsed(words):
    """Arguments as `lowproxy serve` takes them."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    serve_arguments(parser)
    return parser.parse_args(words)


# --- systemd -----------------------------------------------------------------------------


def test_the_unit_reads_the_file_that_the_program_looks_for():
    """A service started by hand and one started by systemd have one configuration."""
    program, command, *words = unit("ExecStart")[0].split()

    assert program.endswith("/bin/lowproxy")
    assert command == "serve"
    assert str(parsed(words).config) == ETC


def test_the_unit_waits_for_the_drain():
    """systemd kills only after the gateway has had its time."""
    assert int(unit("TimeoutStopSec")[0]) > Timeouts().drain_s


def test_the_unit_allows_the_files_that_it_takes():
    """Each request may hold a caller's socket and a provider's."""
    assert int(unit("LimitNOFILE")[0]) > 2 * Server().max_requests


def test_a_broken_configuration_is_not_started_again():
    """The exit code of a configuration that cannot be used is a final one."""
    assert unit("RestartPreventExitStatus") == ["78"]


def test_the_example_environment_is_the_one_that_the_unit_names():
    """Installed under the name that the unit has; it names variables that are read."""
    builtin = load(Config(), {})
    text = ENVIRONMENT.read_text()

    assert f"# {unit('EnvironmentFile')[0]}," in text
    for name in re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE):
        wishes = " ".join(builtin.dormant.values())
        assert name == ENV_KEY or re.search(rf"\b{name}\b", wishes), name


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong(tmp_path):
    """`systemd-analyze verify` is silent; the program is replaced by one that is there."""
    there = shutil.which("true")
    text = UNIT.read_text().replace("/opt/lowproxy/bin/lowproxy", str(there))
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_the_unit_exposes_little():
    """At most 2.0 of 10 on systemd's own scale of exposure, whatever the machine."""
    done = subprocess.run(
        [str(ANALYZE), "security", "--offline=yes", "--threshold=20", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


# --- Kubernetes --------------------------------------------------------------------------


def test_the_sidecar_is_a_native_one(sidecar):
    """It starts before the application, and what starts it is a command that exists."""
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["image"] == IMAGE


def test_the_sidecars_configuration_can_be_used(config, manifests):
    """`lowproxy check` takes it, and it says what the program would say by itself."""
    said = tomllib.loads(manifests["ConfigMap"]["data"]["lowproxy.toml"])

    assert config.server.listen == Server().listen
    assert config.server.admin_listen.port == Server().admin_listen.port
    assert said["timeouts"] == {"drain_s": Timeouts().drain_s}


def test_the_api_is_for_the_pod_alone(config):
    """The containers of a pod share a loopback; nobody else is on it."""
    assert config.server.listen.loopback


def test_the_sidecar_reads_the_file_that_is_mounted(sidecar):
    """The path of the command is within the mount."""
    command, *words = sidecar["args"]
    (mount,) = sidecar["volumeMounts"]

    assert command == "serve"
    assert str(parsed(words).config) == f"{mount['mountPath']}/lowproxy.toml"
    assert mount["readOnly"]


def test_the_kubelet_can_reach_the_probes(config, sidecar):
    """Probes come from outside the pod and ask the admin port for paths that it serves."""
    ports = {each["name"]: each["containerPort"] for each in sidecar["ports"]}
    probes = {name: sidecar[f"{name}Probe"]["httpGet"] for name in PROBES}

    assert not config.server.admin_listen.loopback
    assert ports == {"admin": config.server.admin_listen.port}
    assert {name: get["path"] for name, get in probes.items()} == PROBES
    assert {get["port"] for get in probes.values()} == {"admin"}


def test_the_scraper_is_told_the_admin_port(config, manifests):
    """The annotations name the port and the path of the metrics."""
    about = manifests["Deployment"]["spec"]["template"]["metadata"]["annotations"]

    assert about["prometheus.io/port"] == str(config.server.admin_listen.port)
    assert about["prometheus.io/path"] == "/metrics"


def test_the_pod_waits_for_the_drain(config, pod):
    """The grace period is longer than what the gateway may take."""
    assert pod["terminationGracePeriodSeconds"] > config.timeouts.drain_s


def test_the_sidecar_may_do_nothing(sidecar):
    """No root, no capability, no writable file system, as the image's user."""
    may = sidecar["securityContext"]
    (user,) = dockerfile("USER")

    assert f"{may['runAsUser']}:{may['runAsGroup']}" == user
    assert may["runAsNonRoot"]
    assert may["readOnlyRootFilesystem"]
    assert not may["allowPrivilegeEscalation"]
    assert may["capabilities"] == {"drop": ["ALL"]}


def test_the_application_calls_the_sidecar(config, pod):
    """What an SDK reads from its environment is the sidecar's address and a key of its."""
    (app,) = pod["containers"]
    env = {each["name"]: each for each in app["env"]}

    assert env["OPENAI_BASE_URL"]["value"] == f"http://{config.server.listen}/api/v1"
    assert env["OPENAI_API_KEY"]["valueFrom"]["secretKeyRef"]["key"] == ENV_KEY


# --- Docker ------------------------------------------------------------------------------


def test_the_image_listens_on_the_ports_that_it_says():
    """The default command opens what EXPOSE names, beyond the container."""
    (command,) = dockerfile("CMD")
    name, *words = yaml.safe_load(command)
    options = parsed(words)

    assert name == "serve"
    assert options.listen == f"0.0.0.0:{Server().listen.port}"
    assert options.admin_listen == f"0.0.0.0:{Server().admin_listen.port}"
    assert dockerfile("EXPOSE") == [
        f"{Server().listen.port} {Server().admin_listen.port}"
    ]


def test_the_image_is_built_under_the_programs_version():
    """The commands of the files name the image of this version."""
    for file in (DOCKERFILE, SIDECAR):
        tags = set(re.findall(r"\blowproxy:[0-9][\w.]*", file.read_text()))
        assert tags == {IMAGE}, file.name


def test_the_image_has_what_the_build_reads():
    """What is copied exists, and is let through by the list of what is sent."""
    first = DOCKERFILE.read_text().partition("\nFROM ")[2].partition("\nFROM ")[0]
    copied = [
        name
        for line in re.findall(r"^COPY (.*)$", first, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()

    assert set(copied) == {line[1:] for line in ignore if line.startswith("!")}
    for name in copied:
        assert (DEPLOY.parent / name).exists(), name
