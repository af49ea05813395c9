"""A credential is shown by nothing but `reveal`."""

import copy
import json
import pickle
import traceback

import attrs
import orjson
import pytest

from lowproxy.core.secret import Secret
from lowproxy.core.upstreams import Provider

CANARY = "sk-canary-0123456789"
SECRET = Secret(CANARY)


@pytest.mark.parametrize(
    "shown",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        f"{SECRET:>60}",
        f"{SECRET!r:.100}",
        "%s %r" % (SECRET, SECRET),  # noqa: UP031 - the old way shows as little
        repr([SECRET]),
        repr({"key": SECRET}),
        repr(Provider(id="acme", credentials=(SECRET,))),
        repr(attrs.asdict(Provider(id="acme", credentials=(SECRET,)))),
        ascii(SECRET),
    ],
)
def test_no_way_of_printing_shows_it(shown):
    """Neither alone nor within what holds it."""
    assert CANARY not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "write",
    [json.dumps, orjson.dumps, pickle.dumps, copy.copy, copy.deepcopy, vars],
)
def test_no_way_of_writing_takes_it(write):
    """It is refused, and the refusal does not show it either."""
    with pytest.raises(TypeError) as caught:
        write(SECRET)

    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_reveal():
    """The one way."""
    assert SECRET.reveal() == CANARY
