"""The life of the process as a service manager sees it: sockets, signals, words to `$NOTIFY_SOCKET`."""

import contextlib
import json
import os
import signal
import socket
import ssl
import time

import pytest

from tests.certificates import authority
from tests.cli.test_serve import LIMIT_S, Served, get
from tests.gateway import KEY


class Manager:
    """Listens on a notify socket."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.settimeout(LIMIT_S)

    def told(self, line):
        """The next message with this line; those before it are dropped."""
        while True:
            lines = self.sock.recv(4096).decode().split("\n")
            if line in lines:
                return lines


@pytest.fixture
def manager(tmp_path):
    """Who is told."""
    made = Manager(tmp_path)
    yield made
    made.sock.close()


def over_unix(path, request):
    """All that comes back over a Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LIMIT_S)
        sock.connect(str(path))
        sock.sendall(request)
        data = b""
        while piece := sock.recv(65536):
            data += piece
    return data


MODELS = (
    f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    "Connection: close\r\n\r\n"
).encode()


def test_a_life(tmp_path, manager):
    """Ready when it can route; alive by the watchdog; reloading by signal and by file; stopping; gone."""
    config, api = tmp_path / "lowproxy.toml", tmp_path / "api.sock"
    config.write_text("[server]\nwatch_config = true\n")
    options = ("--listen", f"unix:{api}", "--admin-listen", "127.0.0.1:0")
    environ = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"}
    with Served(tmp_path, *options, LOWROUTER_API_KEY=KEY, **environ) as served:
        ready = manager.told("READY=1")
        assert f"MAINPID={served.child.pid}" in ready
        assert over_unix(api, MODELS).startswith(b"HTTP/1.1 200 ")
        assert f"curl --unix-socket {api} -N http://localhost/" in served.until(
            "client ="
        )
        manager.told("WATCHDOG=1")
        manager.told("WATCHDOG=1")

        served.child.send_signal(signal.SIGHUP)
        moment = manager.told("RELOADING=1")[1]
        assert moment.startswith("MONOTONIC_USEC=")
        assert any(
            line.startswith("STATUS=serving") for line in manager.told("READY=1")
        )

        config.write_text("[server]\nwatch_config = true\nmax_requests = 0\n")
        manager.told("RELOADING=1")
        assert any("rejected" in line for line in manager.told("READY=1"))
        assert over_unix(api, MODELS).startswith(b"HTTP/1.1 200 ")

        served.child.send_signal(signal.SIGTERM)
        manager.told("STOPPING=1")
        code, err = served.ended()
    assert code == 0
    assert not api.exists()
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events.count("config.applied") == events.count("config.rejected") == 1
    assert "server.max_requests: found 0, needs 1 or more" in err


def test_not_ready_where_nothing_serves(tmp_path, manager):
    """A configuration with a mistake: nobody is told READY, and no socket is made."""
    options = ("--listen", f"unix:{tmp_path}/api.sock", "--instance", "0")
    with Served(tmp_path, *options, NOTIFY_SOCKET=manager.path) as served:
        code, err = served.ended()
    assert code == 78
    assert "--instance: found 0" in err
    manager.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.sock.recv(1)
    assert not (tmp_path / "api.sock").exists()


def instance_number():
    """A number whose admin port is free, and the next one's too, below those that the kernel gives away."""
    for number in range(2_000 + os.getpid() % 10_000, 24_000, 2):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for i in (0, 1):
                sock = stack.enter_context(socket.socket())
                sock.bind(("127.0.0.1", 8080 + number + i))
            return number
    raise AssertionError("no two free ports in a row")


def test_tls_of_our_own_and_instances(tmp_path):
    """Two instances on one port, each with its admin port; TLS without a front."""
    ca = authority(tmp_path / "ca")
    pair = ca.issue("gateway")
    (tmp_path / "lowproxy.toml").write_text(
        f'[server]\ntls_cert_file = "{pair.cert}"\ntls_key_file = "{pair.key}"\n'
    )
    trust = ssl.create_default_context(cafile=str(ca.pair.cert))
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        free.bind(("127.0.0.1", 0))
        port, number = free.getsockname()[1], instance_number()
        options = ("--listen", f"127.0.0.1:{port}", "--instance")
        environ = {"LOWROUTER_API_KEY": KEY, "HOME": str(tmp_path)}
        with (
            Served(tmp_path, *options, str(number), **environ) as one,
            Served(tmp_path, *options, str(number + 1), **environ) as two,
        ):
            for i, served in enumerate((one, two)):
                assert f"https://127.0.0.1:{port}/api" in served.until("client =")
                assert '"ready"' in get(8080 + number + i, "/readyz")
            with (
                socket.create_connection(("127.0.0.1", port), LIMIT_S) as sock,
                trust.wrap_socket(sock, server_hostname="localhost") as tls,
            ):
                assert tls.version() in ("TLSv1.2", "TLSv1.3")
                tls.sendall(MODELS)
                assert tls.recv(12) == b"HTTP/1.1 200"
            ends = time.monotonic() + LIMIT_S
            for served in (one, two):
                served.child.send_signal(signal.SIGTERM)
                assert served.ended()[0] == 0
                assert time.monotonic() < ends
