"""Where callers come in: Unix sockets, sockets of others, TLS of our own."""

import asyncio
import grp
import os
import socket
import ssl
import stat

import pytest

from lowproxy.config import Listen, Server
from lowproxy.config.tls import server_context
from lowproxy.errors import ConfigError
from lowproxy.server import listeners
from lowproxy.server.listeners import Passed, listening, only_local, passed_on
from tests.certificates import authority


class Echo(asyncio.Protocol):
    """Sends one byte to everybody who comes."""

    def connection_made(self, transport):
        transport.write(b"x")
        transport.close()


async def answered(address, family=socket.AF_UNIX):
    """What comes when somebody connects."""
    loop = asyncio.get_running_loop()
    with socket.socket(family) as sock:
        sock.setblocking(False)
        async with asyncio.timeout(10):
            await loop.sock_connect(sock, address)
            return await loop.sock_recv(sock, 1)


async def test_a_unix_socket(tmp_path):
    """It has its permissions, answers, and is gone afterwards."""
    path = str(tmp_path / "api.sock")
    listen = Listen.parse(f"unix:{path}")
    async with listening(Echo, "server.listen", listen) as opened:
        assert opened.listen == listen
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        assert await answered(path) == b"x"
    assert not os.path.exists(path)


async def test_its_mode_and_group(tmp_path):
    """As configured; a group that does not exist is a mistake, and nothing stays behind."""
    path = str(tmp_path / "api.sock")
    listen, gid = Listen("", 0, path), os.getgid()
    server = Server(socket_mode=0o600, socket_group=grp.getgrgid(gid).gr_name)
    async with listening(Echo, "server.listen", listen, server=server):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert os.stat(path).st_gid == gid
    server = Server(socket_group="no-such-group")
    with pytest.raises(ConfigError, match="server.socket_group: there is no group"):
        async with listening(Echo, "server.listen", listen, server=server):
            pass
    assert not os.path.exists(path)


async def test_one_that_a_killed_process_left(tmp_path):
    """It is replaced."""
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    async with listening(Echo, "server.listen", Listen("", 0, path)):
        assert await answered(path) == b"x"


async def test_one_that_somebody_serves_or_that_is_none(tmp_path):
    """Never taken away."""
    path = str(tmp_path / "api.sock")
    listen = Listen("", 0, path)
    async with listening(Echo, "server.listen", listen):
        with pytest.raises(ConfigError, match="in use"):
            async with listening(Echo, "server.listen", listen):
                pass
        assert await answered(path) == b"x"
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ConfigError, match="no socket"):
        async with listening(Echo, "server.listen", Listen("", 0, str(file))):
            pass
    assert file.read_text() == "precious"


async def test_the_next_process_may_have_put_its_own_there(tmp_path):
    """Whoever ends removes what it made, and nothing else."""
    path = str(tmp_path / "api.sock")
    listen = Listen("", 0, path)
    async with listening(Echo, "server.listen", listen) as old:
        old.close()
        await asyncio.sleep(0)
        next_one = listening(Echo, "server.listen", listen)
        await next_one.__aenter__()
    assert await answered(path) == b"x"
    await next_one.__aexit__(None, None, None)


async def test_a_port_for_several():
    """Two that say so share one; without the word the second is refused."""
    server = Server(reuse_port=True)
    free = Listen("127.0.0.1", 0)
    async with listening(Echo, "server.listen", free, server=server) as first:
        async with listening(Echo, "server.listen", first.listen, server=server):
            port = first.listen.port
            assert await answered(("127.0.0.1", port), socket.AF_INET) == b"x"
        with pytest.raises(ConfigError, match=f"server.listen: {first.listen} cannot"):
            async with listening(Echo, "server.listen", first.listen):
                pass


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_a_socket_of_somebody_else(family, tmp_path):
    """It answers while we accept; later it still queues, for whoever comes next."""
    address = ("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "s")
    with socket.socket(family) as owner:
        owner.bind(address)
        owner.listen()
        address = owner.getsockname()
        ours = owner.dup()
        ours.setblocking(False)
        nowhere = Listen("127.0.0.1", 1)
        async with listening(Echo, "server.listen", nowhere, (ours,)) as opened:
            assert opened.listen.port == (address[1] if family == socket.AF_INET else 0)
            assert await answered(address, family) == b"x"
        await asyncio.sleep(0)
        with socket.socket(family) as caller:
            caller.settimeout(10)
            caller.connect(address)
            accepted, _ = owner.accept()
            accepted.close()


@pytest.fixture
def three(monkeypatch):
    """Three listening sockets in a row, as a service manager passes them on."""
    made = []
    for _ in range(3):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        made.append(sock)
    first = max(sock.fileno() for sock in made) + 10
    for i, sock in enumerate(made):
        os.dup2(sock.fileno(), first + i)
    monkeypatch.setattr(listeners, "FIRST_FD", first)
    yield [sock.getsockname() for sock in made]
    for sock in made:
        sock.close()


def names(passed: Passed):
    """The addresses of each kind; the sockets are closed."""
    kinds = [
        [sock.getsockname() for sock in each] for each in (passed.api, passed.admin)
    ]
    for sock in (*passed.api, *passed.admin):
        sock.close()
    return kinds


@pytest.mark.parametrize(
    ("count", "said", "api", "admin"),
    [
        ("1", None, [0], []),
        ("2", None, [0], [1]),
        ("2", "unknown:unknown", [0], [1]),
        ("2", "admin:api", [1], [0]),
        ("3", "api:admin:api", [0, 2], [1]),
        ("0", None, [], []),
    ],
)
def test_which_is_which(three, count, said, api, admin):
    """By name, else by order."""
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    if said is not None:
        environ["LISTEN_FDNAMES"] = said
    passed = passed_on(environ, os.getpid())
    assert all(only_local(sock) for sock in passed.api)
    assert names(passed) == [[three[i] for i in api], [three[i] for i in admin]]


def test_meant_for_somebody_else(three):
    """A parent's variables are not ours."""
    assert passed_on({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, os.getpid()) == Passed()
    assert passed_on({}, os.getpid()) == Passed()


def test_what_is_not_known(three):
    """More sockets than can be told apart, and one that does not listen."""
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3"}
    with pytest.raises(ConfigError, match="LISTEN_FDNAMES: "):
        passed_on(environ, os.getpid())
    with socket.socket() as idle:
        os.dup2(idle.fileno(), listeners.FIRST_FD)
    with pytest.raises(ConfigError, match="does not listen"):
        passed_on({**environ, "LISTEN_FDS": "1"}, os.getpid())


async def test_tls_of_our_own(tmp_path):
    """TLS 1.2 and later, HTTP/1.1; a certificate that is loaded later is for those who come later."""
    ca = authority(tmp_path / "ca")
    pairs = [ca.issue("first"), ca.issue("second")]
    context = server_context(
        Server(tls_cert_file=str(pairs[0].cert), tls_key_file=str(pairs[0].key))
    )
    assert context is not None
    trust = ssl.create_default_context(cafile=str(ca.pair.cert))
    trust.set_alpn_protocols(["h2", "http/1.1"])
    seen = []
    async with listening(Echo, "o", Listen("127.0.0.1", 0), tls=context) as opened:
        for _ in pairs:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", opened.listen.port, ssl=trust
            )
            assert await reader.read() == b"x"
            tls = writer.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
            seen.append(dict(row[0] for row in tls.getpeercert()["subject"]))
            writer.close()
            context.load_cert_chain(pairs[1].cert, pairs[1].key)
    assert seen == [{"commonName": "first"}, {"commonName": "second"}]
