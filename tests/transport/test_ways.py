"""Ways to a provider, by either client: through a proxy, by a private CA, with a certificate of ours."""

import asyncio
import contextlib
import socket
import ssl

import pytest

from lowproxy.config import Timeouts, Upstream
from lowproxy.core.tunnel import Proxy
from lowproxy.errors import UpstreamUnreachableError
from lowproxy.transport.dial import Way
from tests.certificates import authority
from tests.gateway import CLIENTS, request_to, whole

BODY = b'{"choices": []}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
)


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    """An authority that no system knows."""
    return authority(tmp_path_factory.mktemp("ca"))


@contextlib.asynccontextmanager
async def provider(context):
    """A provider on a free port, over TLS; yields the port and who has come."""
    came = []

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            peer = writer.get_extra_info("ssl_object").getpeercert()
            came.append(dict(row[0] for row in peer["subject"]) if peer else None)
            while await reader.readuntil(b"\r\n\r\n{}"):
                writer.write(ANSWER + BODY)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], came
        server.close()


@contextlib.asynccontextmanager
async def tunnel(answer=b"HTTP/1.1 200 Connection established\r\n\r\n", to=0):
    """A proxy that connects to the port `to`, whatever it is asked; yields its port and what it was told."""
    told = []
    tasks = []

    async def copy(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader, writer):
        told.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if not to or b" 200 " not in answer:
            writer.close()
            return
        up = await asyncio.open_connection("127.0.0.1", to)
        tasks.append(asyncio.create_task(copy(up[0], writer)))
        await copy(reader, up[1])

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], told
        server.close()
    await asyncio.gather(*tasks)


def served(ca, *, asks=False):
    """TLS of the provider; `asks` for a certificate of who comes."""
    pair = ca.issue("provider")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca.pair.cert)
    return context


async def ask(kind, way, url):
    """The body of an answer."""
    async with CLIENTS[kind](Timeouts(connect_s=10), way) as client:
        return await whole(await client.send(request_to(url)))


@pytest.fixture(params=sorted(CLIENTS))
def kind(request):
    """Which way up."""
    return request.param


async def test_a_private_ca(kind, ca):
    """With it the provider is believed, without it nobody is asked."""
    async with provider(served(ca)) as (port, came):
        url = f"https://localhost:{port}/v1"
        way = Way(Upstream(ca_file=str(ca.pair.cert)))
        assert await ask(kind, way, url) == BODY
        with pytest.raises(UpstreamUnreachableError, match="TLS failed"):
            await ask(kind, Way(), url)
    assert came == [None]


async def test_a_certificate_of_ours(kind, ca):
    """It is shown to who asks for one."""
    ours = ca.issue("gateway")
    way = Way(Upstream(str(ca.pair.cert), str(ours.cert), str(ours.key)))
    async with provider(served(ca, asks=True)) as (port, came):
        assert await ask(kind, way, f"https://localhost:{port}/v1") == BODY
    assert came == [{"commonName": "gateway"}]


async def test_through_a_proxy(kind, ca):
    """Names are the proxy's to resolve; TLS is with the provider; the password goes to the proxy alone."""
    async with provider(served(ca)) as (port, came), tunnel(to=port) as (at, told):
        environ = {"HTTPS_PROXY": f"http://me:hunter2@127.0.0.1:{at}"}
        way = Way(Upstream(ca_file=str(ca.pair.cert)), Proxy.read(environ))
        # A name that nobody knows would not be found if we looked; the certificate has this one.
        assert await ask(kind, way, f"https://localhost:{port}/v1") == BODY
    assert came == [None]
    (head,) = told
    assert head.startswith(f"CONNECT localhost:{port} HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n" in head


async def test_who_is_spared_goes_direct(kind, ca, upstream):
    """By NO_PROXY, and whoever is reached without TLS."""
    async with provider(served(ca)) as (port, _), tunnel() as (at, told):
        environ = {"HTTPS_PROXY": f"127.0.0.1:{at}", "NO_PROXY": "localhost"}
        way = Way(Upstream(ca_file=str(ca.pair.cert)), Proxy.read(environ))
        assert await ask(kind, way, f"https://localhost:{port}/v1") == BODY
        assert b"choices" in await ask(kind, way, upstream.base_url)
    assert told == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nX: y\r\n\r\n",
            "proxy answered 407",
        ),
        (
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            "proxy answered 502",
        ),
    ],
)
async def test_a_proxy_that_refuses(kind, answer, says):
    """No connection was made: another candidate may be asked. Neither address nor password is told."""
    async with tunnel(answer) as (at, _):
        way = Way(
            proxy=Proxy.read({"HTTPS_PROXY": f"http://me:hunter2@127.0.0.1:{at}"})
        )
        with pytest.raises(UpstreamUnreachableError, match=says) as failure:
            await ask(kind, way, "https://api.example/v1")
    assert "hunter2" not in str(failure.value)
    assert "127.0.0.1" not in failure.value.message


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n\r\n", b"x" * 20_000])
async def test_what_is_no_proxy(answer):
    """Said so, within its limit."""
    async with tunnel(answer) as (at, _):
        way = Way(proxy=Proxy.read({"HTTPS_PROXY": f"127.0.0.1:{at}"}))
        with pytest.raises(UpstreamUnreachableError, match=r"the proxy|reset"):
            await ask("fast", way, "https://api.example/v1")


async def test_no_proxy_there(kind):
    """As any connection that is refused."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        way = Way(proxy=Proxy("127.0.0.1", sock.getsockname()[1]))
        with pytest.raises(UpstreamUnreachableError, match="refused"):
            await ask(kind, way, "https://api.example/v1")
