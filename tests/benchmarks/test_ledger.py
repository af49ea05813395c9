"""The measurement of the books measures what it says."""

from benchmarks.ledger import Looks, writer


def test_the_writer_writes_all_that_it_counts():
    """And a record costs something."""
    found = writer(2000)

    assert found["writer alone, records/s"] > 0
    assert found["CPU per record, units"] > found["append, on the request's way, units"]


def test_a_rate_is_of_the_time_when_there_was_traffic():
    """Not of the looks before and after."""
    looks = Looks(
        seen=[(0.0, 0.0), (1.0, 0.0), (2.0, 100.0), (3.0, 200.0), (9.0, 200.0)]
    )

    assert looks.rate == 100.0


def test_a_gateway_that_is_not_there_says_nothing():
    """It starts while somebody looks."""
    looks = Looks()
    looks.look()
    looks.url = "http://127.0.0.1:9/metrics"
    looks.look()

    assert looks.seen == []
