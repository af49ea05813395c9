"""A slow reader, doubling, overload: what is told of them."""

from benchmarks import strain


def test_what_is_bounded_is_told_of_some_part():
    """Every figure of every part is walked over, bounded or not."""
    found = {"a part": {"cut": 0.0, "rounds": 5.0}, "another": {"cut": 1.0}}

    assert list(strain.each(found)) == [
        ("a part", "cut", 0.0),
        ("a part", "rounds", 5.0),
        ("another", "cut", 1.0),
    ]
    assert set(strain.PARTS) == {"slow", "doubling", "overload"}
