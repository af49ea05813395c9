"""The longest turn of the loop while a large request is served."""

import orjson

from benchmarks import stalls


def test_every_kind_is_served_and_timed():
    """As many figures as requests, of each kind; the bounds are of kinds that are measured."""
    found = stalls.measured(requests=2)

    assert {name: len(times) for name, times in found.items()} == {
        "nothing": 2,
        "200 kB prompt": 2,
        "10 MB image": 2,
    }
    assert all(time > 0 for times in found.values() for time in times)
    assert set(stalls.BOUNDS_MS) < set(found)


def test_the_picture_has_its_size():
    """Ten megabytes are 13.3 MB of base64 in the request."""
    body = orjson.loads(stalls.image(3000))
    url = body["messages"][0]["content"][1]["image_url"]["url"]

    assert len(url) == len("data:image/png;base64,") + 4000
