"""Idle connections are taken last first, and only while they are good."""

import asyncio

import pytest

from lowproxy.transport.deadline import Deadline
from lowproxy.transport.pool import KEEPALIVE_S, Connection, Pool, Target

PLACE = Target("127.0.0.1", 9, tls=False)


class Transport(asyncio.Transport):
    """Enough of one to be kept or thrown away."""

    def __init__(self):
        super().__init__()
        self.aborted = False

    def abort(self):
        self.aborted = True

    def is_closing(self):
        return self.aborted


class Timer:
    """A timer that can be cancelled."""

    def cancel(self):
        """It does not run by itself anyway."""


class Loop:
    """A loop whose time is set by hand."""

    def __init__(self):
        self.now = 100.0
        self.later = []

    def time(self):
        return self.now

    def call_later(self, delay_s, callback):
        self.later.append(callback)
        return Timer()

    call_at = call_later


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def pool(loop):
    return Pool(loop)


def connected(pool, target=PLACE):
    connection = Connection(pool, target)
    connection.connection_made(Transport())
    pool.added(connection)
    return connection


def take(pool, target=PLACE):
    return pool.take(pool.shelf(target), pool._loop.time())


def test_the_last_used_is_taken_first(pool):
    """It is the least likely to have been closed."""
    first, second = connected(pool), connected(pool)
    pool.put(first)
    pool.put(second)
    assert take(pool) is second
    assert take(pool) is first
    assert take(pool) is None


def test_targets_are_apart(pool):
    """A connection with TLS is none without it."""
    pool.put(connected(pool))
    assert take(pool, Target(PLACE.host, PLACE.port, tls=True)) is None
    assert take(pool) is not None


@pytest.mark.parametrize("spoil", ["age", "closing", "closed"])
def test_what_is_no_longer_good_is_not_taken(pool, loop, spoil):
    """Too long idle, about to close, or gone."""
    connection = connected(pool)
    pool.put(connection)
    if spoil == "age":
        loop.now += KEEPALIVE_S + 1
    elif spoil == "closing":
        connection.transport.aborted = True
    else:
        connection.connection_lost(None)
    assert take(pool) is None


def test_bytes_that_nobody_asked_for_end_a_connection(pool):
    """The two sides disagree about where an answer ended."""
    connection = connected(pool)
    pool.put(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\n")
    assert connection.transport.aborted


def test_the_sweep_closes_what_is_idle_too_long(pool, loop):
    """And no sooner."""
    old = connected(pool)
    pool.put(old)
    loop.now += KEEPALIVE_S
    young = connected(pool)
    pool.put(young)
    loop.later[0]()
    assert old.transport.aborted
    assert not young.transport.aborted
    assert len(loop.later) == 2


def test_closing_ends_every_connection(pool):
    """The idle and the busy."""
    idle, busy = connected(pool), connected(pool)
    pool.put(idle)
    pool.close()
    assert idle.transport.aborted
    assert busy.transport.aborted


class Taker(Transport):
    """A caller's transport: what is written, whether it is about to close."""

    def __init__(self):
        super().__init__()
        self.written = []

    def write(self, data):
        self.written.append(data)


class Answer:
    """An answer that notes what it is given."""

    def __init__(self):
        self.reads = []

    def receive(self, data):
        self.reads.append(data)


@pytest.fixture
def short(pool, loop):
    """A connection with a short way that takes what begins with "a", and both its ends."""
    connection = connected(pool)
    connection.answer, caller = Answer(), Taker()
    connection.deadline = Deadline(
        loop, idle_s=5.0, total_s=0.0, started=0.0, expired=lambda _: None
    )
    connection.short = (
        lambda read: read.upper() if read.startswith(b"a") else None,
        caller,
    )
    return connection, connection.answer, caller


def test_the_short_way(short, loop):
    """Past the answer into the caller's transport; the limit of silence begins anew."""
    connection, answer, caller = short
    loop.now = 103.0
    connection.data_received(b"a1")
    assert (caller.written, answer.reads) == ([b"A1"], [])
    assert connection.deadline.last == 103.0


def test_the_short_way_ends(short, loop):
    """With the first read that it does not take, until the answer opens it again."""
    connection, answer, caller = short
    loop.now = 103.0
    for read in (b"b", b"a2"):
        connection.data_received(read)
    assert (caller.written, answer.reads) == ([], [b"b", b"a2"])
    assert connection.deadline.last == 100.0  # which is for the answer to do


def test_the_short_way_to_a_caller_who_has_left(short):
    """Nothing is written there, nor taken as if it were."""
    connection, answer, caller = short
    caller.abort()
    connection.data_received(b"a")
    assert (caller.written, answer.reads) == ([], [b"a"])


def test_the_short_way_of_a_connection_that_is_lost(short):
    """What it leads to is let go."""
    connection, answer, _ = short
    answer.lost = answer.reads.append
    connection.connection_lost(None)
    assert connection.short is None
    assert answer.reads == [None]
