"""How it ends: who is served until when. How it lives: see tests/cli/test_serve.py."""

import asyncio

from lowproxy.server.lifecycle import stamp
from tests.fakes import Answer, RawCaller, openai_chunk, sse
from tests.gateway import CHAT, ask, asking, gateway_over, settled

WORD = sse(openai_chunk("a"), done=False)
DONE = b"data: [DONE]\n\n"


class Stopping:
    """A gateway that is told to stop when the test says so."""

    def __init__(self, folder, upstream, server, extra=""):
        self.context = gateway_over(
            folder, upstream, server=server, extra=extra, hurry=False
        )

    async def __aenter__(self):
        self.gateway = await self.context.__aenter__()
        return self

    def stop(self):
        """As SIGTERM does."""
        self.task = asyncio.create_task(self.context.__aexit__(None, None, None))

    async def __aexit__(self, *_):
        await asyncio.wait_for(self.task, 20)


async def served(caller):
    """The `Connection` of an answer on this connection."""
    reply = await caller.post(CHAT, ask())
    assert reply.status == 200
    await reply.rest()
    return reply.headers["connection"]


async def test_the_pause(tmp_path, upstream, log_text):
    """Not ready, and served all the same, on old connections and new ones: every answer is a last one."""
    async with (
        Stopping(tmp_path, upstream, "stop_delay_s = 1\n") as it,
        it.gateway.caller() as old,
        it.gateway.caller() as silent,
    ):
        assert await served(old) == "keep-alive"
        it.stop()
        await settled(lambda: it.gateway.parts.life.stopping)
        told = await it.gateway.admin("/readyz")
        assert (told.status, told.json()["reason"]) == (503, "draining")
        async with it.gateway.caller() as new:
            assert await served(new) == "close"
            assert await new.ended()
        for caller in (old, silent):
            assert await served(caller) == "close"
            assert await caller.ended()


async def test_idle_connections_are_served_a_little_longer(
    tmp_path, upstream, log_text
):
    """After the port is closed: whoever sends in that moment is not lost, nor one who never sent before."""
    async with (
        Stopping(tmp_path, upstream, "linger_s = 8\n") as it,
        it.gateway.caller() as old,
        it.gateway.caller() as silent,
    ):
        assert await served(old) == "keep-alive"
        it.stop()
        await closed(it.gateway.port)
        assert await served(old) == "close"
        assert await served(silent) == "close"
        assert await old.ended()


async def test_a_connection_lingers_from_its_last_answer(tmp_path, upstream, log_text):
    """One whose stream ends long after the stop has its time, too."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate, WORD, DONE)]
    async with (
        Stopping(tmp_path, upstream, "linger_s = 0.3\n") as it,
        it.gateway.caller() as caller,
        it.gateway.caller() as idle,
    ):
        reply = await caller.post(CHAT, asking())
        it.stop()
        assert await idle.ended()  # it has had its time
        gate.set()
        assert (await reply.rest()).endswith(DONE)
        assert reply.headers["connection"] == "keep-alive"
        assert await served(caller) == "close"


async def test_a_stream_that_began_while_stopping_ends_in_band(
    tmp_path, upstream, log_text
):
    """It is one like any other: at `drain_s` its last event says why."""
    gate = asyncio.Event()
    upstream.script = [Answer.stream(WORD, gate)]
    extra = "[timeouts]\ndrain_s = 1\n"
    async with (
        Stopping(tmp_path, upstream, "linger_s = 8\n", extra) as it,
        it.gateway.caller() as caller,
    ):
        it.stop()
        await closed(it.gateway.port)
        reply = await caller.post(CHAT, asking())
        assert b'"code":"overloaded"' in await reply.rest()


async def closed(port):
    """Returns when nothing accepts on the port any more."""
    async with asyncio.timeout(10):
        while True:
            try:
                async with RawCaller(port):
                    await asyncio.sleep(0.01)
            except ConnectionError:
                return


def test_the_stamp_of_a_file(tmp_path):
    """Another content, another file of that name, a link that leads elsewhere; None where there is none."""
    path, link = tmp_path / "a", tmp_path / "link"
    assert stamp(path) is None
    path.write_text("x")
    first = stamp(path)
    assert first == stamp(path)
    path.write_text("xy")
    second = stamp(path)
    assert second != first
    link.symlink_to(path)
    assert stamp(link) == second
    other = tmp_path / "b"
    other.write_text("xy")
    link.unlink()
    link.symlink_to(other)
    assert stamp(link) != second
