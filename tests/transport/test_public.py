"""The client over aiohttp: its failures in our own words, nothing of aiohttp's own ideas."""

import aiohttp
import pytest

from lowproxy.config import Timeouts
from lowproxy.errors import UpstreamCutError, UpstreamUnreachableError
from lowproxy.transport.public import running_client, upstream_errors
from tests.fakes import Answer
from tests.gateway import request_to, whole


@pytest.fixture
async def client():
    """A running client."""
    async with running_client(Timeouts()) as made:
        yield made


@pytest.mark.parametrize(
    ("failure", "told", "words"),
    [
        (aiohttp.ConnectionTimeoutError(), UpstreamUnreachableError, "connect_s"),
        (aiohttp.ServerDisconnectedError("canary"), UpstreamCutError, "ended early"),
        (aiohttp.ClientPayloadError("canary"), UpstreamCutError, "ended early"),
        (ConnectionResetError("canary"), UpstreamCutError, "ended early"),
        (UnicodeError("canary"), UpstreamUnreachableError, "host name"),
    ],
)
def test_failures_have_our_names(failure, told, words):
    """With the endpoint's name, the cause kept, and nothing of its text."""
    with pytest.raises(told, match=words) as caught, upstream_errors("acme-paris"):
        raise failure
    assert caught.value.message.startswith("acme-paris: ")
    assert "canary" not in caught.value.message
    assert caught.value.__cause__ is failure


async def test_nothing_is_remembered_between_requests(client, upstream):
    """No cookie of one caller's answer goes up with another's request."""
    upstream.script = [Answer.of({}, Set_Cookie="session=canary; Path=/")]
    for _ in range(2):
        await whole(await client.send(request_to(upstream.base_url)))
    assert upstream.seen[1].header("cookie") is None


async def test_the_environment_does_not_redirect(monkeypatch, upstream):
    """`http_proxy` and `.netrc` of whoever starts the process change nothing."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with running_client(Timeouts()) as client:
        assert (await client.send(request_to(upstream.base_url))).status == 200


async def test_redirects_are_answers(client, upstream):
    """Not followed: the caller's prompt does not go where an upstream points."""
    upstream.script = [Answer.of({}, 308, Location=f"{upstream.base_url}/elsewhere")]
    answer = await client.send(request_to(upstream.base_url))
    assert (answer.status, await whole(answer)) == (308, b"{}")
    assert upstream.requests.count == 1
