"""One timer for a stream: silence and length, with a clock that the test moves."""

import pytest

from lowproxy.transport.deadline import Deadline
from tests.fakes import Clock


class Loop:
    """As much of an event loop as a deadline needs: `call_at` and a settable time."""

    def __init__(self):
        self.clock = Clock(100.0)
        self.timers = []
        self.armed = 0

    def time(self):
        return self.clock()

    def call_at(self, when, callback):
        self.armed += 1
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds):
        """Moves on, firing what falls due on the way."""
        end = self.clock.now + seconds
        while due := [t for t in self.timers if t.when <= end]:
            timer = min(due, key=lambda t: t.when)
            self.timers.remove(timer)
            self.clock.now = max(self.clock.now, timer.when)
            if not timer.cancelled:
                timer.callback()
        self.clock.now = end


class Timer:
    """What `call_at` gives."""

    def __init__(self, when, callback):
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def loop():
    """A loop that stands at 100 s."""
    return Loop()


def deadline(loop, idle_s=0.0, total_s=0.0, started=100.0):
    """A deadline and the list that it tells."""
    told: list[str] = []
    return Deadline(
        loop, idle_s=idle_s, total_s=total_s, started=started, expired=told.append
    ), told


def test_silence_ends_it(loop):
    """After `idle_s` without a read, once."""
    _, told = deadline(loop, idle_s=10)
    loop.advance(9.9)
    assert told == []
    loop.advance(0.1)
    assert told == ["idle_s"]
    loop.advance(100)
    assert told == ["idle_s"]


def test_reads_put_it_off_without_a_new_timer(loop):
    """A read is a time stamp; the timer looks when it fires, and sleeps on."""
    line, told = deadline(loop, idle_s=10)
    for _ in range(1000):
        loop.advance(0.1)
        line.touch()
    assert told == []
    assert loop.armed <= 12
    loop.advance(10)
    assert told == ["idle_s"]


def test_the_whole_is_limited(loop):
    """`total_s` counts from the request's beginning, reads or not."""
    line, told = deadline(loop, idle_s=10, total_s=30, started=95.0)
    for _ in range(24):
        loop.advance(1)
        line.touch()
    assert told == []
    loop.advance(1)
    assert told == ["total_s"]


def test_the_limit_that_was_first_is_named(loop):
    """Whichever ran out."""
    _, told = deadline(loop, idle_s=10, total_s=30)
    loop.advance(50)
    assert told == ["idle_s"]
    _, told = deadline(loop, idle_s=30, total_s=10, started=loop.time())
    loop.advance(50)
    assert told == ["total_s"]


def test_nought_is_none(loop):
    """No limit, no timer."""
    line, told = deadline(loop)
    assert loop.armed == 0
    line.touch()
    loop.advance(1e9)
    assert told == []
    line.cancel()


def test_a_pause_is_not_silence(loop):
    """While we do not read, the time stands still, and starts anew afterwards."""
    line, told = deadline(loop, idle_s=10)
    loop.advance(9)
    line.pause()
    loop.advance(1000)
    assert told == []
    line.resume()
    loop.advance(9.9)
    assert told == []
    loop.advance(0.2)
    assert told == ["idle_s"]


def test_a_pause_does_not_stop_the_total(loop):
    """A caller that never reads does not keep a stream for ever."""
    line, told = deadline(loop, idle_s=10, total_s=30)
    line.pause()
    loop.advance(30)
    assert told == ["total_s"]


def test_cancelled(loop):
    """The stream is over: nothing is told any more, however often it is cancelled."""
    line, told = deadline(loop, idle_s=10, total_s=20)
    line.cancel()
    line.cancel()
    loop.advance(100)
    assert told == []
