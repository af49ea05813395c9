"""A file of the operator's own, read again when it changes."""

import os

import pytest

from lowproxy.core.grid_reading import RejectedReadingError
from lowproxy.grid.asking import running_session
from lowproxy.grid.board import Board
from lowproxy.grid.feed import Feed
from lowproxy.grid.operator_file import OperatorFile
from lowproxy.grid.source import Question
from lowproxy.metrics import Metrics
from tests.fakes import Clock
from tests.grid_server import NOW, feed_config


def read(body, zones):
    """The readings in a file that was written now."""
    source = OperatorFile(feed_config("file", zones=zones))
    return source.read(Question(""), body, NOW)


def test_numbers_and_objects():
    """A zone that does not say when is of when the file was written."""
    body = b'{"FR":38.5,"DE":{"g_per_kwh":320,"at":"2026-11-22T10:00:00Z"}}'
    france, germany = read(body, {})
    assert (france.zone, france.grams_per_kwh, france.at) == ("FR", 38.5, NOW)
    assert (germany.zone, germany.grams_per_kwh, germany.at) == ("DE", 320, NOW - 1200)


def test_zones_that_are_named():
    """Only these, under the names that the file has."""
    (reading,) = read(b'{"paris":38.5,"berlin":1}', {"FR": "paris"})
    assert (reading.zone, reading.grams_per_kwh) == ("FR", 38.5)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "no_data"),
        (b'{"FR":', "garbage"),
        (b'{"France":38}', "wrong_zone"),
        (b'{"FR":"many"}', "garbage"),
        (b'{"FR":{"g":38}}', "garbage"),
        (b'{"FR":{"at":"2026-11-22T10:00:00Z"}}', "no_data"),
    ],
)
def test_what_is_no_reading(body, reason):
    """Each by its reason."""
    with pytest.raises(RejectedReadingError, match=reason):
        read(body, {})


async def test_it_is_read_again(tmp_path):
    """A change is seen in the next round; half a file, or none, changes nothing."""
    path, clock, metrics = tmp_path / "grid.json", Clock(NOW), Metrics()
    config = feed_config("file", path=path, zones={})
    board = Board((config,))

    def write(text):
        path.write_text(text)
        os.utime(path, (clock(), clock()))

    async with running_session() as session:
        feed = Feed(0, config, session, board, metrics, clock)
        write('{"FR": 38.5}')
        await feed.round()
        assert board.current(clock())["FR"].grams_per_kwh == 38.5
        clock.advance(10)
        write('{"FR": 41}')
        await feed.round()
        assert board.current(clock())["FR"].grams_per_kwh == 41
        write('{"FR": 4')
        await feed.round()
        path.unlink()
        await feed.round()
        write(" " * 300_000)
        await feed.round()
    reading = board.current(clock())["FR"]
    assert (reading.grams_per_kwh, reading.source) == (41, "operator-file")
    assert metrics.grid_failures.values == {
        ("operator-file", "garbage"): 1,
        ("operator-file", "unreachable"): 1,
        ("operator-file", "too_large"): 1,
    }
