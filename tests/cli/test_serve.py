"""`lowproxy serve`: what it says as it starts, and how it ends."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from lowproxy.cli import serve
from lowproxy.cli.serve import banner
from tests.fakes import FakeUpstream
from tests.gateway import KEY, MODEL, gateway_over

LIMIT_S = 30.0  # a busy machine imports slowly


class Served:
    """A process, its environment nothing but what is given."""

    def __init__(self, folder, *options, **environ):
        # A home of its own: its books are not those of others on this machine.
        kept = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder)}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "lowproxy", "serve", *options],
            cwd=folder,
            env={**kept, "PYTHONPATH": os.getcwd(), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.out = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()

    def until(self, word):
        """Reads what is printed until the word has come."""
        assert self.child.stdout is not None
        ends = time.monotonic() + LIMIT_S
        while word not in self.out:
            ready, _, _ = select.select(
                [self.child.stdout], [], [], ends - time.monotonic()
            )
            data = os.read(self.child.stdout.fileno(), 65536) if ready else b""
            assert data, f"it ended or hung without {word!r}: {self.out}"
            self.out += data.decode()
        return self.out

    def ended(self):
        """Exit code and standard error."""
        _, err = self.child.communicate(timeout=LIMIT_S)
        return self.child.returncode, err.decode()


FREE = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")


def get(port, path, key=None):
    """One GET over a plain socket: all that comes back."""
    auth = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\n{auth}Connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as sock:
        sock.sendall(head.encode())
        data = b""
        while piece := sock.recv(65536):
            data += piece
    return data.decode()


def test_a_fresh_machine(tmp_path):
    """No key, no file: a key is made and printed once, the demo answers, SIGTERM ends it."""
    with Served(tmp_path, *FREE) as served:
        out = served.until("client = OpenAI(")
        keys = set(re.findall(r"lr-sk-[A-Za-z0-9_-]{40,}", out))
        assert len(keys) == 1
        assert "providers: demo" in out
        assert "no language model" in out
        base = re.search(r"serving http://127\.0\.0\.1:(\d+)/api/v1", out)
        admin = re.search(r"metrics: http://127\.0\.0\.1:(\d+)\)", out)
        assert base is not None
        assert admin is not None
        answer = get(int(base[1]), "/api/v1/models", keys.pop())
        assert answer.startswith("HTTP/1.1 200 ")
        assert "openai/gpt-4o-mini" in answer
        assert get(int(base[1]), "/api/v1/models").startswith("HTTP/1.1 401 ")
        assert '"ready"' in get(int(admin[1]), "/readyz")
        served.child.send_signal(signal.SIGTERM)
        code, err = served.ended()
    assert code == 0
    assert "Traceback" not in err
    # Standard error is the log: JSON, one line per request, no key.
    lines = [line for line in err.splitlines() if "request.done" in line]
    assert len(lines) == 2
    assert "lr-sk-" not in err


def test_sigint_ends_it_too(tmp_path):
    """As Ctrl-C does, without a trace."""
    with Served(tmp_path, *FREE, LOWROUTER_API_KEY=KEY) as served:
        out = served.until("client = OpenAI(")
        assert KEY not in out
        assert "$LOWROUTER_API_KEY" in out
        served.child.send_signal(signal.SIGINT)
        code, err = served.ended()
    assert (code, err) == (0, "")


def test_asked_twice_it_ends_at_once(tmp_path):
    """Whoever asks a second time does not want to wait for running requests."""
    with Served(tmp_path, *FREE, LOWROUTER_API_KEY=KEY) as served:
        out = served.until("client = OpenAI(")
        base = re.search(r"serving http://127\.0\.0\.1:(\d+)/api/v1", out)
        assert base is not None
        with socket.create_connection(("127.0.0.1", int(base[1]))) as held:
            # A request whose body does not come keeps the gateway busy.
            held.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: "
                f"Bearer {KEY}\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n".encode()
            )
            assert held.recv(12) == b"HTTP/1.1 100"
            served.child.send_signal(signal.SIGTERM)
            # Closed for newcomers: it is draining.
            ends = time.monotonic() + LIMIT_S
            while time.monotonic() < ends:
                try:
                    socket.create_connection(("127.0.0.1", int(base[1]))).close()
                except ConnectionError:
                    break
            served.child.send_signal(signal.SIGTERM)
            code, _ = served.ended()
    assert code == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--listen", "nowhere"), "--listen: "),
        (("--config", "missing.toml"), "missing.toml"),
        (("--listen", "0.0.0.0:0"), "server.listen: "),
    ],
)
def test_what_cannot_be_served(tmp_path, options, words):
    """78, and what is wrong; nothing is printed as if it served."""
    with Served(tmp_path, *options) as served:
        code, err = served.ended()
    assert code == 78
    assert words in err
    assert "Traceback" not in err


def test_a_port_that_is_taken(tmp_path):
    """78 with the option and the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Served(tmp_path, "--listen", f"127.0.0.1:{port}", *FREE[2:]) as served:
            code, err = served.ended()
    assert code == 78
    assert f"server.listen: 127.0.0.1:{port} cannot be opened" in err
    assert "in use" in err


async def test_the_banner(tmp_path):
    """What is active, the keys by name, an example that can be pasted."""
    async with FakeUpstream() as up, gateway_over(tmp_path, up) as running:
        text = banner(running.gateway, None)
        assert f"http://127.0.0.1:{running.port}/api/v1" in text
        assert f"http://127.0.0.1:{running.admin_port}" in text
        assert "providers: p1" in text
        assert "regions:   eu-west" in text
        assert "models:    1, and lowrouter/auto" in text
        assert "keys:      LOWROUTER_API_KEY" in text
        assert KEY not in text
        assert "demo" not in text
        assert MODEL not in text
        made = banner(running.gateway, "lr-sk-made")
        assert made.count("lr-sk-made") == 3


@pytest.mark.parametrize("library", ["glibc", "another"])
def test_memory_is_kept_where_the_library_can(monkeypatch, library):
    """Both bounds are set, since one alone would end what glibc learns by itself; elsewhere nothing is."""
    asked = []

    class Library:
        def __init__(self, name):
            if library == "glibc":
                self.mallopt = lambda *given: asked.append(given)

    monkeypatch.setattr("ctypes.CDLL", Library)
    serve._keep_memory()
    assert asked == ([(-1, 8 << 20), (-3, 4 << 20)] if library == "glibc" else [])
