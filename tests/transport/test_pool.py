"""Idle connections are taken last first, and only while they are good."""

import asyncio

import pytest

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
