"""The board: newest, first, fresh."""

from lowproxy.core.grid_reading import GridReading, marginal_key
from lowproxy.grid.board import Board
from tests.grid_server import NOW, feed_config

FIRST = feed_config("electricitymaps", max_age_s=1000)
SECOND = feed_config("http", max_age_s=5000, factor="direct")


def test_the_first_that_is_fresh_counts():
    """When its reading gets too old, the second source's is used; then none."""
    board = Board((FIRST, SECOND))
    board.put(1, GridReading("FR", 21.0, NOW))
    board.put(0, GridReading("FR", 38.0, NOW))

    def used(now):
        return {z: (r.source, r.factor) for z, r in board.current(now).items()}

    assert used(NOW + 1000) == {"FR": ("electricitymaps", "lifecycle")}
    assert used(NOW + 1001) == {"FR": ("operator-http", "direct")}
    assert used(NOW + 5001) == {}


def test_it_says_when_to_look_again():
    """At the next expiry, as long as there is one."""
    board = Board((FIRST, SECOND))
    assert board.next_expiry(NOW) is None
    board.put(0, GridReading("FR", 38.0, NOW))
    board.put(1, GridReading("DE", 320.0, NOW))
    assert board.next_expiry(NOW) == NOW + 1000
    assert board.next_expiry(NOW + 1001) == NOW + 5000
    assert board.next_expiry(NOW + 5001) is None


def test_time_does_not_go_back():
    """An older reading does not replace a newer one; a corrected one does."""
    board = Board((FIRST,))
    told = ((38.0, NOW, 38.0), (50.0, NOW - 900, 38.0), (39.0, NOW, 39.0))
    for grams, at, used in told:
        board.put(0, GridReading("FR", grams, at))
        assert board.current(NOW)["FR"].grams_per_kwh == used


def test_one_line_per_zone_and_source():
    """Two rows of one kind do not make a metric twice."""
    board = Board((FIRST, FIRST))
    board.put(0, GridReading("FR", 38.0, NOW))
    board.put(1, GridReading("FR", 40.0, NOW))
    assert board.held(NOW + 60) == [("FR", "electricitymaps", 38.0, 60.0)]


def test_signals_are_kept_apart():
    """A marginal reading neither replaces an average one nor is replaced by it."""
    config = feed_config("file", signal="marginal", label="operator-file-marginal")
    board = Board((config, FIRST))
    board.put(0, GridReading("FR", 700.0, NOW))
    board.put(1, GridReading("FR", 38.0, NOW))
    current = board.current(NOW)
    assert {key: (r.zone, r.kind) for key, r in current.items()} == {
        "FR": ("FR", "average"),
        marginal_key("FR"): ("FR", "marginal"),
    }
    assert [row[1] for row in board.held(NOW)] == [
        "operator-file-marginal",
        "electricitymaps",
    ]
