"""What a configuration decides, and what it leaves as it is."""

import attrs

from lowproxy.config import FeedConfig
from lowproxy.core.secret import Secret
from lowproxy.server import making


def test_who_is_drawn_among_equals():
    """The same for the same user, any for nobody; always one of them."""
    drawn = {making.pick("alice", 7) for _ in range(20)}
    assert len(drawn) == 1
    assert {making.pick(None, 3) for _ in range(200)} == {0, 1, 2}
    assert all(0 <= making.pick(f"user-{i}", 3) < 3 for i in range(100))


def test_feeds_are_the_same_or_not():
    """By what is asked of whom, and by the credential, which is no part of equality."""
    feed = FeedConfig(
        kind="uk",
        label="uk",
        factor="lifecycle",
        url="",
        path=None,
        token=Secret("a"),
        zones={},
        refresh_s=1.0,
        max_age_s=1.0,
        timeout_s=1.0,
    )
    same = attrs.evolve(feed, token=Secret("a"))
    assert making.same_feeds((feed,), (same,))
    assert not making.same_feeds((feed,), (attrs.evolve(feed, token=Secret("b")),))
    assert not making.same_feeds((feed,), (attrs.evolve(feed, refresh_s=2.0),))
    assert not making.same_feeds((feed,), (feed, feed))
    assert making.same_feeds((), ())
