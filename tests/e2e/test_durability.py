"""The books outlive the process and the database: kill -9 in mid-load, PostgreSQL stopped under load.

`LOWPROXY_OUTAGE_S` is how long PostgreSQL is stopped (30 as the promise has it; shorter without).
"""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import threading

import orjson
import pytest

from lowproxy.store import ledger_books as books
from lowproxy.store.connecting import connect
from tests import servers
from tests.e2e.conftest import KEY, running_gateway

FLUSH_S = 0.1
CONNECTIONS = 8
ROUNDS = 10
OUTAGE_S = float(os.environ.get("LOWPROXY_OUTAGE_S", "2"))
EVER_S = 1e12
BODY = orjson.dumps(
    {"model": "lowrouter/auto", "messages": [{"role": "user", "content": "Hi"}]}
)
HEAD = (
    f"POST /api/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode()

pytestmark = pytest.mark.e2e


async def _one(port, answered, failed, stop):
    """Asks again and again on one connection; ids in the order in which they were answered."""
    with contextlib.suppress(OSError, EOFError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while not stop.is_set():
                writer.write(HEAD + BODY)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].split("\r\n")[0])
                body = await reader.readexactly(length)
                if head.startswith("http/1.1 200 "):
                    told = orjson.loads(body)["lowrouter"]["generation_id"]
                    answered.append(told)
                else:
                    failed.append(body)
        finally:
            writer.close()


class Load:
    """Requests from a thread of its own, on a few connections, until it is stopped."""

    def __init__(self, port):
        self.answered: list[list[str]] = [[] for _ in range(CONNECTIONS)]
        self.failed = []
        self._port, self._stop = port, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self):
        each = (_one(self._port, ids, self.failed, self._stop) for ids in self.answered)
        await asyncio.gather(*each)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)

    @property
    def count(self):
        """Answers so far."""
        return sum(map(len, self.answered))


def until(done):
    """Waits for other processes; `done()` says for how long."""
    waiting = threading.Event()
    for _ in range(6000):
        if done():
            return
        waiting.wait(0.01)
    raise AssertionError("it never came about")


def kept(url):
    """The ids in the books, in order of time."""
    database = connect(url, make=False)
    try:
        return [row["generation_id"] for row in books.stream(database, 0, EVER_S)]
    finally:
        database.close()


def test_killed_in_mid_load_ten_times(tmp_path):
    """What was flushed is there, once, after every kill; the file is whole.

    On a connection a request is made when the one before was answered: if a later one is in the books,
    every earlier one must be.
    """
    draw = random.Random(7)
    file = tmp_path / "lowproxy/ledger.db"
    url = f"sqlite://{file}"
    config = f"[store]\nflush_interval_s = {FLUSH_S}\n"
    connections = []
    for number in range(ROUNDS):
        with running_gateway(tmp_path, config) as gateway, Load(gateway.port) as load:
            before = len(kept(url))
            until(lambda seen=before: len(kept(url)) > seen)
            target = load.count + draw.randrange(200)
            until(lambda most=target, load=load: load.count >= most)
            os.kill(gateway.process.pid, signal.SIGKILL)
        connections += load.answered
        there = kept(url)
        database = sqlite3.connect(file)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()
        assert len(there) == len(set(there))
        assert len(there) > before, number
        for ids in connections:
            known = [each in set(there) for each in ids]
            assert known == sorted(known, reverse=True), "one is missing before another"


def test_postgresql_stopped_under_load(tmp_path):
    """No request fails, and no record is lost once it is back."""
    if servers.program("initdb") is None:
        pytest.skip("PostgreSQL is not installed here (apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (the extra)")
    with servers.running_postgres() as server:
        url = servers.url_of(server)
        config = f'[store]\nurl = "{url}"\nflush_interval_s = {FLUSH_S}\n'
        with running_gateway(tmp_path, config) as gateway:
            with Load(gateway.port) as load:
                until(lambda: kept(url))
                server.stop()
                at = load.count
                threading.Event().wait(OUTAGE_S)
                until(lambda: load.count > at + 50)
                server.start()
                at = load.count
                until(lambda: load.count > at + 50)
            assert load.failed == []
            asked = {id_ for ids in load.answered for id_ in ids}
            until(lambda: asked <= set(kept(url)))
        there = kept(url)

    assert len(there) == len(set(there))
    assert asked <= set(there)
    spilled = tmp_path / "lowproxy"
    assert [path.name for path in spilled.glob("*.jsonl")] == []
