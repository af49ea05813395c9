"""The manifests: rendered by kustomize, valid by Kubernetes' own schemas, true to the program."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

import lowproxy
from benchmarks.load.bars import BARS
from benchmarks.load.figures import Run
from lowproxy.catalogue import open_config
from lowproxy.config import ENV_KEY, Server, Timeouts
from lowproxy.config.rows import Store
from tests.deploy.tree import DEPLOY, dockerfile, served

KUBERNETES = DEPLOY / "kubernetes"
RENDERED = ("base", "overlays/development", "overlays/production", "overlays/sidecar")
# The first with native sidecars on by default, and the newest that the schemas are there for.
VERSIONS = ("1.29", "1.37")
KUBECTL = shutil.which(
    "kubectl", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
)
PROBES = {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
CALLERS_KEY = "lr-sk-" + "0" * 43  # nobody's, long enough to listen with
IMAGE = f"lowproxy:{lowproxy.__version__}"

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


@attrs.frozen
class Manifests:
    """What a folder renders to."""

    name: str
    text: str
    objects: list[dict[str, Any]]

    def of(self, kind, name=None):
        """The objects of a kind, or the one with a name."""
        found = [each for each in self.objects if each["kind"] == kind]
        if name is None:
            return found
        (one,) = [each for each in found if each["metadata"]["name"] == name]
        return one

    @property
    def pod(self):
        """The specification of the pods that the gateway is in."""
        (deployment,) = self.of("Deployment")
        return deployment["spec"]["template"]["spec"]

    @property
    def gateway(self):
        """The gateway's container."""
        both = [*self.pod.get("initContainers", []), *self.pod["containers"]]
        (found,) = [each for each in both if each["name"] == "lowproxy"]
        return found

    @property
    def toml(self):
        """The text of the configuration that is mounted."""
        (found,) = self.of("ConfigMap")
        return found["data"]["lowproxy.toml"]


@pytest.fixture(scope="module", params=RENDERED)
def manifests(request):
    """Each folder that can be applied, rendered."""
    return rendered(request.param)


def rendered(name):
    """What `kubectl kustomize` makes of a folder; no cluster is asked."""
    done = subprocess.run(
        [str(KUBECTL), "kustomize", str(KUBERNETES / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Manifests(name, done.stdout, list(yaml.safe_load_all(done.stdout)))


@pytest.fixture(scope="module")
def config(manifests, tmp_path_factory):
    """The mounted configuration, read as the program reads it."""
    folder = tmp_path_factory.mktemp("etc")
    key = folder / "openai"
    key.write_text("sk-nobodys")
    path = folder / "lowproxy.toml"
    path.write_text(manifests.toml.replace("/run/secrets/lowproxy/openai", str(key)))
    given = {ENV_KEY: CALLERS_KEY, "LOWROUTER_STORE_URL": "postgresql://db/lowrouter"}
    given["LOWROUTER_SHARED_URL"] = "redis://shared"
    return open_config(path, given)[0]


# --- the schemas -------------------------------------------------------------------------


@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None,
    reason="kubernetes-validate is not installed",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(manifests, version, tmp_path):
    """Strictly: a field that Kubernetes does not know is a mistake."""
    file = tmp_path / "rendered.yaml"
    file.write_text(manifests.text)
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version]
    done = subprocess.run(
        [*command, str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr

    assert done.returncode == 0, said
    passed = len(re.findall(r"^INFO .* passed", said, re.MULTILINE))
    # The operator's kind is not Kubernetes': the next test has its fields.
    assert passed + len(manifests.of("ServiceMonitor")) == len(manifests.objects)


def test_what_is_scraped_is_valid_and_there():
    """A ServiceMonitor of the fields that are used, by hand: its schema is in no package.

    It selects the Service by labels that it has, and names a port that it has.
    """
    production = rendered("overlays/production")
    (monitor,) = production.of("ServiceMonitor")
    admin = production.of("Service", "lowproxy-admin")

    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    assert set(monitor["spec"]["selector"]) == {"matchLabels"}
    assert (
        monitor["spec"]["selector"]["matchLabels"].items()
        <= admin["metadata"]["labels"].items()
    )
    (endpoint,) = monitor["spec"]["endpoints"]
    assert set(endpoint) == {"port", "path", "interval", "scrapeTimeout"}
    assert all(
        re.fullmatch(r"[1-9]\d*s", endpoint[n]) for n in ("interval", "scrapeTimeout")
    )
    interval, limit = (int(endpoint[n][:-1]) for n in ("interval", "scrapeTimeout"))
    assert limit < interval
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in {each["name"] for each in admin["spec"]["ports"]}


# --- the program -------------------------------------------------------------------------


def test_the_container_runs_the_program(manifests):
    """A command that exists, of the image of this version, with the file that is mounted."""
    command, *words = manifests.gateway["args"]
    mounts = {each["name"]: each for each in manifests.gateway["volumeMounts"]}
    (volume,) = [each for each in manifests.pod["volumes"] if "configMap" in each]
    (held,) = manifests.of("ConfigMap")

    assert manifests.gateway["image"] == IMAGE
    assert command == "serve"
    mount = mounts[volume["name"]]
    assert str(served(words).config) == f"{mount['mountPath']}/lowproxy.toml"
    assert volume["configMap"]["name"] == held["metadata"]["name"]
    assert {name for name, each in mounts.items() if not each.get("readOnly")} <= {
        "state"
    }


def test_the_configuration_can_be_used(manifests, config):
    """The program takes it, and its ports are those that it has by itself."""
    assert config.server.listen.port == Server().listen.port
    assert config.server.admin_listen.port == Server().admin_listen.port
    if manifests.name != "overlays/production":
        assert config.timeouts.drain_s == Timeouts().drain_s


def test_the_kubelet_can_reach_the_probes(manifests, config):
    """They come from outside the pod, and ask the admin port for paths that it serves."""
    gateway = manifests.gateway
    ports = {each["name"]: each["containerPort"] for each in gateway["ports"]}
    probes = {name: gateway[f"{name}Probe"]["httpGet"] for name in PROBES}

    assert not config.server.admin_listen.loopback
    assert ports["admin"] == config.server.admin_listen.port
    assert {name: get["path"] for name, get in probes.items()} == PROBES
    assert {get["port"] for get in probes.values()} == {"admin"}


def test_the_pod_waits_for_the_drain(manifests, config):
    """The grace period is longer than what the gateway may take."""
    grace_s = manifests.pod["terminationGracePeriodSeconds"]

    assert grace_s >= config.server.stop_delay_s + config.timeouts.drain_s + 10


def test_a_pod_serves_until_nobody_sends_it_more(manifests, config):
    """Behind a Service the news of its end takes seconds; on a pod's own loopback there is none to wait for."""
    behind_a_service = bool(manifests.of("Service"))

    assert (config.server.stop_delay_s > 0) == behind_a_service


def test_no_secret_is_in_a_file(manifests):
    """A Secret is named where it is used, and made by hand; its keys are variables that are read."""
    assert manifests.of("Secret") == []
    assert manifests.gateway["envFrom"] == [{"secretRef": {"name": "lowproxy-keys"}}]


# --- what it may do ----------------------------------------------------------------------


def test_the_container_may_do_nothing(manifests):
    """No root, no capability, no writable file system, as the image's user."""
    may = {**manifests.pod.get("securityContext", {})}
    may |= manifests.gateway["securityContext"]
    (user,) = dockerfile("USER")

    assert f"{may['runAsUser']}:{may['runAsGroup']}" == user
    assert may["runAsNonRoot"]
    assert may["readOnlyRootFilesystem"]
    assert not may["allowPrivilegeEscalation"]
    assert may["capabilities"] == {"drop": ["ALL"]}
    assert may["seccompProfile"] == {"type": "RuntimeDefault"}
    assert manifests.pod["automountServiceAccountToken"] is False


def test_the_memory_is_what_was_measured(manifests, config):
    """The request covers an idle gateway; the limit all streams that it takes, and large bodies."""
    resources = manifests.gateway["resources"]
    bar = {each.what: each for each in BARS}
    idle_mib = worst(bar["resident, idle"])
    stream_kib = worst(bar["memory per open slow stream (S3)"])
    bodies_mib = 3 * config.server.max_body_bytes / 2**20

    assert mebibytes(resources["requests"]["memory"]) > idle_mib
    assert (
        mebibytes(resources["limits"]["memory"])
        > idle_mib + stream_kib * config.server.max_requests / 1024 + bodies_mib
    )
    assert "cpu" not in resources["limits"]


def worst(bar):
    """The largest figure of the newest load test that has it."""
    files = (DEPLOY.parent / "benchmarks" / "results").glob("*-load.json")
    runs = (Run([json.loads(file.read_text())]) for file in sorted(files, reverse=True))
    return max(next(found for run in runs if (found := bar.figures(run))))


def mebibytes(text):
    """A quantity such as 768Mi."""
    ((number, unit),) = re.findall(r"^(\d+)(Mi|Gi)$", text)
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


# --- the sidecar -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sidecar():
    """The application with the gateway beside it."""
    return rendered("overlays/sidecar")


def test_the_sidecar_is_a_native_one(sidecar):
    """An init container that stays: it starts before the application, and ends after it."""
    (first,) = sidecar.pod["initContainers"]

    assert first["name"] == "lowproxy"
    assert first["restartPolicy"] == "Always"


def test_the_application_calls_the_sidecar(sidecar):
    """What an SDK reads from its environment is the sidecar's address and a key of its."""
    (app,) = sidecar.pod["containers"]
    env = {each["name"]: each for each in app["env"]}
    (listen,) = re.findall(r'^listen = "(.*?)"', sidecar.toml, re.MULTILINE)

    assert listen == str(Server().listen)  # the pod's loopback: nobody else is on it
    assert env["OPENAI_BASE_URL"]["value"] == f"http://{listen}/api/v1"
    assert env["OPENAI_API_KEY"]["valueFrom"]["secretKeyRef"]["key"] == ENV_KEY


def test_the_scraper_is_told_the_sidecars_port(sidecar):
    """The annotations name the port and the path of the metrics."""
    (deployment,) = sidecar.of("Deployment")
    about = deployment["spec"]["template"]["metadata"]["annotations"]

    assert about["prometheus.io/port"] == str(Server().admin_listen.port)
    assert about["prometheus.io/path"] == "/metrics"


def test_only_monitoring_reaches_the_sidecars_admin_port(sidecar):
    """The policy leaves the application every other port, and covers the pod."""
    (policy,) = sidecar.of("NetworkPolicy")
    (deployment,) = sidecar.of("Deployment")
    everybody, monitoring = policy["spec"]["ingress"]
    admin = Server().admin_listen.port
    tcp = [each for each in everybody["ports"] if each["protocol"] == "TCP"]
    allowed = [range(each["port"], each["endPort"] + 1) for each in tcp]

    assert (
        policy["spec"]["podSelector"]["matchLabels"].items()
        <= deployment["spec"]["template"]["metadata"]["labels"].items()
    )
    assert [n for n in range(1, 65536) if not any(n in each for each in allowed)] == [
        admin
    ]
    assert monitoring["ports"] == [{"protocol": "TCP", "port": admin}]
    assert monitoring["from"]


# --- standalone --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def production():
    """The gateway by itself, as many would run it."""
    return rendered("overlays/production")


def test_everything_selects_the_pods(production):
    """Services, the policy, the budget and the autoscaler are about the pods that there are."""
    (deployment,) = production.of("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        *(each["spec"]["selector"] for each in production.of("Service")),
        *(each["spec"]["podSelector"] for each in production.of("NetworkPolicy")),
        *(each["spec"]["selector"] for each in production.of("PodDisruptionBudget")),
        deployment["spec"]["selector"],
    ]
    (scaler,) = production.of("HorizontalPodAutoscaler")

    for selector in selectors:
        assert selector.get("matchLabels", selector).items() <= labels
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_services_lead_to_the_ports(production):
    """The API by its name, the admin port by its own; each is a port of the container."""
    names = {each["name"] for each in production.gateway["ports"]}
    ports = {
        service["metadata"]["name"]: service["spec"]["ports"][0]
        for service in production.of("Service")
    }

    assert {each["targetPort"] for each in ports.values()} == names
    assert ports["lowproxy"]["targetPort"] == "api"
    assert ports["lowproxy-admin"]["port"] == Server().admin_listen.port


def test_the_policy_lets_in_who_should(production):
    """Callers reach the API and nothing else; monitoring the admin port; providers are reached."""
    callers = production.of("NetworkPolicy", "lowproxy")["spec"]
    monitoring = production.of("NetworkPolicy", "lowproxy-monitoring")["spec"]
    out = {each["port"] for rule in callers["egress"] for each in rule["ports"]}

    assert [each["port"] for each in callers["ingress"][0]["ports"]] == [
        Server().listen.port
    ]
    assert callers["ingress"][0]["from"]
    assert [each["port"] for each in monitoring["ingress"][0]["ports"]] == [
        Server().admin_listen.port
    ]
    assert out == {53, 443}


def test_there_is_always_a_pod_left(production):
    """An update adds before it removes, and neither it nor a drained node takes the last one."""
    (deployment,) = production.of("Deployment")
    (scaler,) = production.of("HorizontalPodAutoscaler")
    (budget,) = production.of("PodDisruptionBudget")

    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert scaler["spec"]["minReplicas"] > budget["spec"]["maxUnavailable"]
    assert "replicas" not in deployment["spec"]


def test_the_autoscaler_knows_that_a_process_has_one_core(production):
    """Its goal, in cores, can be reached by one process, and leaves room until the next is there."""
    (scaler,) = production.of("HorizontalPodAutoscaler")
    (metric,) = scaler["spec"]["metrics"]
    goal = metric["resource"]["target"]["averageValue"]

    assert 400 <= int(goal.removesuffix("m")) <= 800


def test_a_providers_key_in_a_file_is_where_the_configuration_says(production):
    """The Secret is mounted at the path that `api_key_file` names."""
    (path,) = re.findall(r'^api_key_file = "(.*)"$', production.toml, re.MULTILINE)
    mounts = {each["name"]: each for each in production.gateway["volumeMounts"]}
    (volume,) = [each for each in production.pod["volumes"] if "secret" in each]

    assert path.startswith(mounts[volume["name"]]["mountPath"] + "/")


def test_what_a_database_cannot_take_has_a_place(production):
    """The one folder that may be written to is the configured one, and larger than what is put there."""
    (path,) = re.findall(r'^spill_dir = "(.*)"$', production.toml, re.MULTILINE)
    (volume,) = [each for each in production.pod["volumes"] if "emptyDir" in each]
    mounts = {each["name"]: each for each in production.gateway["volumeMounts"]}

    assert mounts[volume["name"]]["mountPath"] == path
    assert mebibytes(volume["emptyDir"]["sizeLimit"]) * 2**20 > Store().spill_max_bytes


def test_one_desk_has_one_pod():
    """The development overlay has no autoscaler that would add some."""
    development = rendered("overlays/development")
    (deployment,) = development.of("Deployment")

    assert deployment["spec"]["replicas"] == 1
    assert development.of("HorizontalPodAutoscaler") == []
