"""The units: systemd finds nothing wrong with them, and they are true to the program."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from lowproxy.catalogue import load
from lowproxy.config import ENV_KEY, SEARCHED, Config, Server, Timeouts
from lowproxy.config import load as config_of
from lowproxy.server.listeners import BACKLOG
from tests.deploy.tree import DEPLOY, ROOT, options, served
from tests.e2e.conftest import KEY, START_S, free_port, running_gateway
from tests.fakes import refusing_port

SYSTEMD = DEPLOY / "systemd"
SERVICES = sorted(path.name for path in SYSTEMD.glob("*.service"))
SOCKETS = sorted(path.name for path in SYSTEMD.glob("*.socket"))
ENVIRONMENT = SYSTEMD / "lowproxy.env.example"
ETC = str(SEARCHED[-1])

ANALYZE = shutil.which("systemd-analyze")
STRACE = shutil.which("strace")
ACTIVATE = shutil.which("systemd-socket-activate")
wants_systemd = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is not installed"
)


@pytest.fixture(params=SERVICES)
def unit(request):
    """The text of each service."""
    return (SYSTEMD / request.param).read_text()


def analyze(*words):
    """`systemd-analyze`, with nobody's cluster of units but our own."""
    return subprocess.run(
        [str(ANALYZE), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- systemd's own view ------------------------------------------------------------------


@wants_systemd
def test_systemd_finds_nothing_wrong(tmp_path):
    """`systemd-analyze verify` is silent on all of them; the program is replaced by one that is there."""
    files = []
    for name in SERVICES + SOCKETS:
        text = (SYSTEMD / name).read_text()
        there = text.replace("/opt/lowproxy/bin/lowproxy", str(shutil.which("true")))
        (tmp_path / name).write_text(there)
        files.append(tmp_path / name.replace("@.", "@1."))
    done = analyze("verify", "--man=no", "--recursive-errors=no", *files)

    assert (done.returncode, done.stderr) == (0, "")


@wants_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_exposes_little(name):
    """At most 2.0 of 10 on systemd's own scale of exposure, whatever the machine."""
    done = analyze("security", "--offline=true", "--threshold=20", SYSTEMD / name)

    assert done.returncode == 0, done.stdout + done.stderr


@wants_systemd
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="not installed")
def test_the_user_and_the_folders_can_be_made(tmp_path):
    """Both files are taken; the user is the units', and what is secret is root's alone."""
    etc = tmp_path / "etc" / "lowproxy"
    etc.mkdir(parents=True)
    (etc / "lowproxy.env").touch()
    root = f"--root={tmp_path}"
    for command in (
        ["systemd-sysusers", root, SYSTEMD / "lowproxy.sysusers"],
        ["systemd-tmpfiles", root, "--create", SYSTEMD / "lowproxy.tmpfiles"],
    ):
        subprocess.run(
            list(map(str, command)), check=True, capture_output=True, timeout=60
        )

    (user,) = re.findall(
        r"^(\w+):", (tmp_path / "etc/passwd").read_text(), re.MULTILINE
    )
    assert oct(etc.stat().st_mode)[-3:] == "750"
    assert oct((etc / "lowproxy.env").stat().st_mode)[-3:] == "600"
    assert oct((tmp_path / "run/lowproxy").stat().st_mode)[-3:] == "750"
    for name in SERVICES:
        assert options((SYSTEMD / name).read_text(), "User") == [user]


# --- the program's view ------------------------------------------------------------------


def test_a_unit_reads_the_file_that_the_program_looks_for(unit):
    """A service started by hand and one started by systemd have one configuration."""
    program, command, *words = options(unit, "ExecStart")[0].split()

    assert program.endswith("/bin/lowproxy")
    assert command == "serve"
    assert str(served([word.replace("%i", "1") for word in words]).config) == ETC


def test_a_unit_waits_for_the_drain(unit):
    """systemd kills only after the gateway has had its time."""
    limit_s = int(options(unit, "TimeoutStopSec")[0])

    assert limit_s > Server().stop_delay_s + Timeouts().drain_s


def test_a_unit_allows_the_files_that_it_takes(unit):
    """Each request may hold a caller's socket and a provider's."""
    assert int(options(unit, "LimitNOFILE")[0]) > 2 * Server().max_requests


def test_systemd_is_told_when_it_is_ready(unit):
    """The program says so itself, and that its loop turns; a reload is the signal that it knows."""
    assert options(unit, "Type") == ["notify"]
    assert options(unit, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert int(options(unit, "WatchdogSec")[0]) >= 10


def test_an_instance_has_ports_of_its_own():
    """The template's instance n shares the API's port and has its admin port at 8080 + n."""
    start = options((SYSTEMD / "lowproxy@.service").read_text(), "ExecStart")[0]
    words = start.replace("%i", "3").split()[2:]

    assert served(words).instance == 3
    assert options((SYSTEMD / "lowproxy@.socket").read_text(), "ReusePort") == ["yes"]


def test_a_broken_configuration_is_not_started_again(unit):
    """The exit code of a configuration that cannot be used is a final one."""
    assert options(unit, "RestartPreventExitStatus") == ["78"]


def test_all_units_may_do_the_same(unit):
    """What one instance is kept from, every instance is."""
    first = (SYSTEMD / SERVICES[0]).read_text()
    start = "# What it may do:"

    assert unit.partition(start)[2] == first.partition(start)[2] != ""


def test_the_example_environment_is_the_one_that_the_units_name(unit, tmp_path):
    """Installed under the name that the unit has; it names variables that are read.

    They are read by themselves, or once the option is set that stands above them.
    """
    builtin = load(Config(), {})
    text = ENVIRONMENT.read_text()
    options_named = re.findall(r'^# server\.(\w+ = "(\w+)")', text, re.MULTILINE)

    assert f"# {options(unit, 'EnvironmentFile')[0]}," in text
    for name in re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE):
        wishes = " ".join(builtin.dormant.values())
        by_itself = name == ENV_KEY or re.search(rf"\b{name}\b", wishes)
        assert by_itself or name in {each for _, each in options_named}, name
    for option, name in options_named:
        path = tmp_path / "lowproxy.toml"
        path.write_text(f"[server]\n{option}\n")
        secret = config_of(path, {name: "k" * 40}).admin_key
        assert secret is not None
        assert secret.reveal() == "k" * 40


@pytest.mark.parametrize("name", SOCKETS)
def test_a_socket_is_the_one_that_the_program_would_open(name):
    """Address and queue as by itself, under the name that the program knows it by."""
    text = (SYSTEMD / name).read_text()

    assert options(text, "ListenStream") == [str(Server().listen)]
    assert options(text, "Backlog") == [str(BACKLOG)]
    assert options(text, "FileDescriptorName") == ["api"]


@pytest.mark.e2e
@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate is not there")
@pytest.mark.parametrize("name", SOCKETS)
def test_a_socket_of_systemds_is_served(name, tmp_path):
    """The first connection starts the program, which finds it, by the unit's name, and answers.

    What the program is told to listen on itself is a port that is taken.
    """
    called = options((SYSTEMD / name).read_text(), "FileDescriptorName")[0]
    port = free_port()
    command = [str(ACTIVATE), f"--listen=127.0.0.1:{port}", f"--fdname={called}"]
    command += [f"--setenv=PYTHONPATH={ROOT}", f"--setenv={ENV_KEY}={KEY}"]
    command += [sys.executable, "-m", "lowproxy", "serve", "--admin-listen"]
    command += [f"127.0.0.1:{free_port()}", "--listen"]
    with refusing_port() as taken, (tmp_path / "printed.txt").open("wb") as out:
        command.append(f"127.0.0.1:{taken}")
        child = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out)
        try:
            assert patiently(f"http://127.0.0.1:{port}/api/v1/models") == 200
        finally:
            child.terminate()
            child.wait(START_S)


def patiently(url):
    """The status of a GET, once somebody listens there."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    give_up = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=START_S) as answer:
                return answer.status
        except urllib.error.URLError as refused:
            if time.monotonic() > give_up or isinstance(
                refused, urllib.error.HTTPError
            ):
                raise
            time.sleep(0.05)  # another process: there is nothing to await


# --- what it is kept from ----------------------------------------------------------------


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """The lines of strace on a gateway from its start, over an answer, to its end."""
    folder = tmp_path_factory.mktemp("traced")
    trace = folder / "trace.txt"
    # The tracer steps aside: the process that is stopped is the gateway.
    under = [str(STRACE), "-D", "-f", "-q", "-o", str(trace)]
    with running_gateway(folder, under=under) as gateway:
        question = {
            "model": "lowrouter/auto",
            "stream": True,
            "messages": [{"role": "user", "content": "Hi"}],
        }
        request = urllib.request.Request(
            f"{gateway.base_url}/chat/completions",
            json.dumps(question).encode(),
            {
                "Authorization": f"Bearer {gateway.key}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert b"[DONE]" in answer.read()
    ended = f"{gateway.process.pid} +++ exited with 0 +++"
    give_up = time.monotonic() + 30
    while ended not in trace.read_text() and time.monotonic() < give_up:
        time.sleep(0.05)  # another process: there is nothing to await
    return trace.read_text().splitlines()


def allowed():
    """The system calls that the units leave: the last word on a call counts."""
    text = (SYSTEMD / SERVICES[0]).read_text()
    listed = analyze("syscall-filter", "--no-pager").stdout
    groups: dict[str, list[str]] = {}
    for line in listed.splitlines():
        if line.startswith("@"):
            groups[line.strip()] = members = []
        elif re.fullmatch(r"\s+[@\w-]+", line):
            members.append(line.strip())

    def calls(name):
        if not name.startswith("@"):
            return {name}
        return set().union(*map(calls, groups[name]))

    left = calls("@default")
    for line in options(text, "SystemCallFilter"):
        named = set().union(*map(calls, line.removeprefix("~").split()))
        left = left - named if line.startswith("~") else left | named
    return left


@wants_systemd
@pytest.mark.e2e
@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_the_filter_leaves_what_the_program_calls(traced):
    """No system call of a gateway's life is one that the units refuse."""
    called = {
        found[1] for line in traced if (found := re.match(r"\d+\s+(\w+)\(", line))
    }

    assert {"epoll_pwait", "accept4", "execve"} <= called
    # SQLite gives its files to their folder's owner where it is root, which the service is not.
    assert called - allowed() <= {"fchown"}


@wants_systemd
@pytest.mark.e2e
@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_no_memory_is_both_written_and_run(traced):
    """As MemoryDenyWriteExecute= demands."""
    both = re.compile(r"PROT_[A-Z|_]*WRITE[A-Z|_]*PROT_EXEC")

    assert [line for line in traced if both.search(line)] == []
