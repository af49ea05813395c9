"""The edge node: a real nginx passes each event on as it comes, and its figures are the program's."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from lowproxy.config import Server, Timeouts
from lowproxy.server.listeners import BACKLOG
from lowproxy.server.wire import KEEPALIVE_S
from tests.deploy.front import CONF, NGINX, OPENSSL, running_front, written
from tests.deploy.tree import DEPLOY, options
from tests.fakes import LIMIT_S, Answer, FakeUpstream, openai_chunk, sse, usage_chunk
from tests.gateway import CHAT, KEY, ask, asking, gateway_over

EDGE = DEPLOY / "edge"
SYSCTL = EDGE / "sysctl.conf"
PROC = Path("/proc/sys")

wants_nginx = pytest.mark.skipif(
    None in (NGINX, OPENSSL), reason="nginx or openssl is not installed"
)


def said(directive):
    """The one argument of a directive of nginx's configuration."""
    (found,) = re.findall(rf"^\s*{directive} ([^;]+);", CONF.read_text(), re.MULTILINE)
    return found


def seconds(text):
    """A time of nginx's."""
    return int(text.removesuffix("s"))


# --- through a real nginx ----------------------------------------------------------------


class TlsCaller:
    """One connection to the front: an answer is read as it comes."""

    def __init__(self, front):
        self._front = front
        self.seen = b""

    async def __aenter__(self):
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._front.port, ssl=self._front.tls()
        )
        return self

    async def __aexit__(self, *_):
        await self.leave()

    async def leave(self):
        """Says so and closes the connection, as programs do: without waiting for an answer."""
        self._writer.close()
        await asyncio.sleep(0)
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, path, body=None):
        """A request, and the connection closed after its answer."""
        content = b"" if body is None else orjson.dumps(body)
        head = (
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\n"
            "Host: gateway.example\r\nConnection: close\r\n"
            f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        await self._writer.drain()

    async def until(self, mark):
        """Reads until this has come."""
        async with asyncio.timeout(LIMIT_S):
            while mark not in self.seen:
                piece = await self._reader.read(65536)
                assert piece, self.seen
                self.seen += piece

    async def rest(self):
        """Everything, once the front has closed."""
        async with asyncio.timeout(LIMIT_S):
            while piece := await self._reader.read(65536):
                self.seen += piece
        return self.seen


@contextlib.asynccontextmanager
async def edge(folder, upstream):
    """A gateway over the upstream, and the front before it."""
    async with gateway_over(folder, upstream) as gateway:
        with running_front(folder, gateway.port) as front:
            yield front


@wants_nginx
@pytest.mark.e2e
async def test_an_event_comes_before_the_next_one_is_sent(tmp_path):
    """The provider waits for the caller to have read each; a front that buffered would wait forever."""
    words = [f"word{n}" for n in range(4)]
    read = [asyncio.Event() for _ in words]
    pieces: list[bytes | asyncio.Event] = []
    for word, event in zip(words, read, strict=True):
        pieces += [sse(openai_chunk(word)), event]
    pieces += [sse(usage_chunk()), b"data: [DONE]\n\n"]
    async with FakeUpstream() as upstream:
        upstream.script.append(Answer.stream(*pieces))
        async with edge(tmp_path, upstream) as front, TlsCaller(front) as caller:
            await caller.send(CHAT, asking())
            for word, event in zip(words, read, strict=True):
                await caller.until(word.encode())
                event.set()
            whole = await caller.rest()

    assert b"[DONE]" in whole
    assert b'"lowrouter"' in whole


@wants_nginx
@pytest.mark.e2e
async def test_a_caller_that_leaves_is_noticed(tmp_path):
    """Through the front and the gateway, up to the provider, whose answer is stopped."""
    async with FakeUpstream() as upstream:
        upstream.script.append(
            Answer.stream(sse(openai_chunk("first")), asyncio.Event())
        )
        async with edge(tmp_path, upstream) as front:
            async with TlsCaller(front) as caller:
                await caller.send(CHAT, asking())
                await caller.until(b"first")
            await upstream.aborted.wait()


@wants_nginx
@pytest.mark.e2e
async def test_a_large_prompt_touches_no_disk(tmp_path):
    """It is passed on as it arrives."""
    prompt = "x" * 3_000_000
    async with (
        FakeUpstream() as upstream,
        edge(tmp_path, upstream) as front,
        TlsCaller(front) as caller,
    ):
        await caller.send(CHAT, ask(user=prompt))
        whole = await caller.rest()

    assert whole.startswith(b"HTTP/1.1 200 ")
    assert upstream.seen[0].json()["user"] == prompt
    assert "temporary file" not in (tmp_path / "error.log").read_text()


@wants_nginx
@pytest.mark.e2e
async def test_a_completion_is_asked_for_once(tmp_path):
    """A gateway that breaks off is not asked again: the answer may have been paid for.

    Not even on a connection that has been used before, where nginx would try a new one.
    """
    async with FakeUpstream() as gateway:
        gateway.script += [Answer.of({}), *[Answer(cut=True)] * 3]
        with running_front(tmp_path, gateway.port) as front:
            for _ in range(2):
                async with TlsCaller(front) as caller:
                    await caller.send(CHAT, asking())
                    await caller.rest()

        assert gateway.connections.count == 1
        assert gateway.requests.count == 2


@wants_nginx
@pytest.mark.e2e
async def test_the_admin_port_stays_inside(tmp_path):
    """Neither health nor metrics nor anything else is there; the API is, under both names."""
    async with FakeUpstream() as upstream, edge(tmp_path, upstream) as front:
        answers = {}
        for path in ("/metrics", "/readyz", "/", "/api/v1/models", "/v1/models"):
            async with TlsCaller(front) as caller:
                await caller.send(path)
                answers[path] = (await caller.rest()).split(b" ", 2)[1]

    assert answers == {
        "/metrics": b"404",
        "/readyz": b"404",
        "/": b"404",
        "/api/v1/models": b"200",
        "/v1/models": b"200",
    }


@wants_nginx
@pytest.mark.e2e
def test_nginx_finds_nothing_wrong(tmp_path):
    """`nginx -t` takes it, without a warning."""
    file = written(tmp_path, 1, 2)
    done = subprocess.run(
        [str(NGINX), "-t", "-q", "-p", str(tmp_path), "-c", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


# --- figures -----------------------------------------------------------------------------


def test_the_front_asks_where_the_gateway_is():
    """Its address by default."""
    assert re.findall(r"server ([\d.:]+) ", CONF.read_text()) == [str(Server().listen)]


def test_the_front_gives_up_later_than_the_gateway():
    """The gateway's limits end a request, with words; the front's would be a bare 504."""
    limits = Timeouts()

    assert seconds(said("proxy_read_timeout")) > limits.unary_s
    assert seconds(said("proxy_read_timeout")) > limits.first_byte_s
    assert seconds(said("client_body_timeout")) >= limits.body_s


def test_the_front_lets_a_connection_go_first():
    """The gateway must not close one that a request is about to take."""
    assert seconds(said("keepalive_timeout")) < KEEPALIVE_S


def test_the_front_takes_what_the_gateway_takes():
    """The largest body, the longest queue, and two files for each stream."""
    mebibytes = int(said("client_max_body_size").removesuffix("m"))

    assert mebibytes * 2**20 == Server().max_body_bytes
    assert set(re.findall(r"backlog=(\d+)", CONF.read_text())) == {str(BACKLOG)}
    assert int(said("worker_rlimit_nofile")) > 2 * Server().max_requests
    assert int(said("worker_connections")) > Server().max_requests


def settings():
    """The lines of the sysctl file by name."""
    found = re.findall(r"^([\w.]+) = (.*)$", SYSCTL.read_text(), re.MULTILINE)
    assert found
    return dict(found)


def test_each_setting_has_its_reason():
    """A block of lines opens with a comment that says why."""
    blocks = SYSCTL.read_text().strip().split("\n\n")[1:]

    assert all(re.match(r"# .*[.:]", block) for block in blocks)
    assert sum(block.count(" = ") for block in blocks) == len(settings())


def test_the_queue_is_as_long_as_the_program_asks():
    """The kernel cuts it to this, silently."""
    assert int(settings()["net.core.somaxconn"]) == BACKLOG


def test_there_are_ports_for_all_streams():
    """Each takes one towards its provider."""
    low, high = map(int, settings()["net.ipv4.ip_local_port_range"].split())

    assert high - low > Server().max_requests
    assert low > Server().admin_listen.port + 64  # instances' admin ports


@pytest.mark.skipif(
    os.getuid() != 0 or None in map(shutil.which, ("unshare", "sysctl")),
    reason="needs root, unshare and sysctl",
)
def test_the_kernel_takes_the_settings():
    """In a network namespace of its own, so that this machine stays as it is."""
    done = subprocess.run(
        ["unshare", "-n", "sysctl", "-p", str(SYSCTL)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    printed = dict(line.split(" = ") for line in done.stdout.splitlines())
    assert printed == settings()


def test_a_gateway_started_by_hand_has_as_many_files():
    """As the unit's."""
    unit = (DEPLOY / "systemd" / "lowproxy.service").read_text()
    limits = re.findall(
        r"^lowproxy \w+ nofile (\d+)$", (EDGE / "limits.conf").read_text(), re.MULTILINE
    )

    assert set(limits) == set(options(unit, "LimitNOFILE"))
