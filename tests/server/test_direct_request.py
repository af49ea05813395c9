"""Answers at the direct server where there is nobody to take them."""

from types import SimpleNamespace
from typing import Any

from lowproxy.server import wire
from lowproxy.server.direct_request import DirectRequest


def test_a_large_answer_to_a_closed_socket_is_dropped():
    """`send` where the caller has gone writes nothing and does not fail."""

    gone: Any = SimpleNamespace(
        transport=None, closing=True, server=SimpleNamespace(last=False)
    )
    message = SimpleNamespace(
        method="GET", path="/", headers={}, should_close=False, upgrade=False
    )
    told = wire.send(DirectRequest(gone, message, None), 200, [], b"x")
    assert told.status == 200
