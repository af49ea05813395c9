"""Another configuration under a running gateway: all of it, or nothing."""

import asyncio

import attrs
import pytest

from lowproxy.catalogue import open_config
from lowproxy.config import Config, Server, Store
from lowproxy.server.reload import FIXED, settled
from tests.certificates import authority
from tests.fakes import Answer, openai_chunk, openai_completion, sse
from tests.gateway import (
    CHAT,
    KEY,
    Place,
    asking,
    config_text,
    provider_key,
)

WORD = sse(openai_chunk("a"), done=False)
DONE = b"data: [DONE]\n\n"


class Edited:
    """A gateway, and the file that an operator edits."""

    def __init__(self, running):
        self.running = running
        self.path = running.parts.config.path

    def read(self):
        """As `lowproxy serve` reads it again."""
        keys = {f"P{n}_KEY": provider_key(f"p{n}") for n in (1, 2)}
        return open_config(self.path, {"LOWROUTER_API_KEY": KEY, **keys})

    async def write(self, *upstreams, **options):
        """Writes a file for these upstreams, and reloads; whether it is in force."""
        places = [Place(up, provider=f"p{n}") for n, up in enumerate(upstreams, 1)]
        self.path.write_text(config_text(places, **options))
        return await self.running.gateway.reloader.reload(self.read)


@pytest.fixture
async def edited(serve, upstream):
    """A gateway over one upstream."""
    return Edited(await serve(upstream))


async def outcomes(running):
    """How reloads have ended, by the metric."""
    text = (await running.admin("/metrics")).body.decode()
    return [
        line for line in text.splitlines() if line.startswith("lowproxy_config_rel")
    ]


async def test_the_next_request_takes_the_new_route(edited, upstream, other):
    """On a connection that was open before, too."""
    async with edited.running.caller() as caller:
        assert (await (await caller.post(CHAT, asking(False))).json())["choices"]
        assert await edited.write(other)
        assert (await (await caller.post(CHAT, asking(False))).json())["choices"]
    assert (upstream.requests.count, other.requests.count) == (1, 1)
    assert await outcomes(edited.running) == [
        'lowproxy_config_reloads_total{outcome="applied"} 1.0'
    ]


async def test_a_running_stream_keeps_what_it_began_with(edited, upstream, other):
    """Its upstream, its time limits, its words: the reload is not seen in it."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate, WORD, DONE)]
    async with edited.running.caller() as caller:
        reply = await caller.post(CHAT, asking())
        first = await reply.event()
        assert await edited.write(other, extra="[timeouts]\nidle_s = 0.001\n")
        gate.set()
        assert await reply.event() == first
        assert (await reply.rest()).endswith(DONE)
    assert other.requests.count == 0


async def test_a_file_with_mistakes_changes_nothing(edited, upstream, other, log_text):
    """All of them are logged in one line, and counted; requests go where they went."""
    extra = "[timeouts]\nidle = 3\n[eco]\nfull = 1\n"
    before = edited.running.parts
    assert not await edited.write(other, extra=extra)
    assert edited.running.gateway.parts is before
    assert (await edited.running.chat()).status == 200
    assert (upstream.requests.count, other.requests.count) == (1, 0)
    (line,) = [each for each in log_text().splitlines() if "config.rejected" in each]
    assert "timeouts.idle: no such option" in line
    assert "eco.full: found 1, needs true or false" in line
    # What only shows when parts are made is a mistake like any other.
    assert not await edited.write(other, extra='[eco]\nmethodology = "v0-nobody"\n')
    edited.path.write_text("[server\n")
    assert not await edited.running.gateway.reloader.reload(edited.read)
    assert edited.running.gateway.parts is before
    assert await outcomes(edited.running) == [
        'lowproxy_config_reloads_total{outcome="rejected"} 3.0'
    ]


async def test_a_bug_while_reading_ends_nothing(edited, log_text):
    """It is told from the operator's mistakes, and its text, which may hold anything, is not logged."""

    def read():
        raise RuntimeError("with a secret")

    assert not await edited.running.gateway.reloader.reload(read)
    assert (await edited.running.chat()).status == 200
    assert '"kind":"RuntimeError"' in log_text()
    assert "with a secret" not in log_text()


async def test_what_outlives_a_reload(edited, upstream):
    """Health, counts, and connections to upstreams; time limits change, keys too."""
    assert (await edited.running.chat()).status == 200
    before = edited.running.parts
    assert await edited.write(upstream, extra="[timeouts]\nunary_s = 7\n")
    after = edited.running.gateway.parts
    for name in ("health", "metrics", "aftermath", "life", "busy", "pick"):
        assert getattr(after, name) is getattr(before, name), name
    assert after.dispatch.unary.limit_s == 7
    assert (await edited.running.chat()).status == 200
    assert upstream.connections.count == 1


async def test_another_way_up_is_another_pool(edited, upstream, tmp_path):
    """What other certificates say of us is not said over the old connections."""
    assert (await edited.running.chat()).status == 200
    ca = authority(tmp_path / "ca").pair.cert
    extra = f'[upstream]\nca_file = "{ca}"\n'
    assert await edited.write(upstream, extra=extra)
    assert (await edited.running.chat()).status == 200
    assert upstream.connections.count == 2


async def test_the_demo_and_back(edited, upstream):
    """A gateway may lose its providers and get them again."""
    text = edited.path.read_text()
    address = '[server]\nlisten = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\n'
    edited.path.write_text(address)
    for _ in range(2):
        assert await edited.running.gateway.reloader.reload(edited.read)
    told = await edited.running.chat(model="openai/gpt-4o-mini")
    assert told.json()["lowrouter"]["provider"] == "demo"
    edited.path.write_text(text)
    assert await edited.running.gateway.reloader.reload(edited.read)
    upstream.script = [Answer.of(openai_completion())]
    assert (await edited.running.chat()).json()["lowrouter"]["provider"] == "p1"


async def test_what_needs_a_restart_is_said(edited, upstream, log_text):
    """And stays as it was, while the rest of the file holds."""
    server = "reuse_port = true\nmax_requests = 3\n"
    assert await edited.write(upstream, server=server)
    now = edited.running.gateway.parts.config.server
    assert (now.reuse_port, now.max_requests) == (False, 3)
    assert '"needs_restart":["server.reuse_port"]' in log_text()


async def test_tls_cannot_begin_under_way(edited, upstream, log_text, tmp_path):
    """The port that is open has none."""
    pair = authority(tmp_path / "ca").issue("server")
    server = f'tls_cert_file = "{pair.cert}"\ntls_key_file = "{pair.key}"\n'
    assert await edited.write(upstream, server=server)
    assert '"needs_restart":["server.tls_cert_file"]' in log_text()


def test_only_what_is_fixed_is_kept():
    """Options and whole tables; what is equal is not mentioned."""
    old = Config()
    assert settled(Config(), old) == (old, [])
    new = Config(
        server=Server(socket_mode=0o600, max_requests=1), store=Store(enabled=False)
    )
    config, kept = settled(new, old)
    assert kept == ["server.socket_mode", "store"]
    assert config == attrs.evolve(old, server=Server(max_requests=1))


def test_what_is_fixed_exists():
    """Each path is a table, or an option of one."""
    for path in FIXED:
        table, _, option = path.partition(".")
        assert hasattr(getattr(Config(), table), option or "__class__"), path
