"""A body's pieces come out as they went in."""

from hypothesis import given
from hypothesis import strategies as st

from lowproxy.server.gathered import Gathered


@given(st.lists(st.integers(0, 700_000), max_size=8), st.booleans())
def test_the_whole_is_the_pieces(sizes, viewed):
    """Few or many, short or long, views among them."""
    pieces = [bytes([i]) * size for i, size in enumerate(sizes)]
    gathered = Gathered()

    for piece in pieces:
        gathered.add(memoryview(piece) if viewed else piece)

    assert gathered.whole() == b"".join(pieces)
    assert type(gathered.whole()) is bytes
    assert gathered.size == sum(sizes)
