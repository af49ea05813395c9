"""A gateway in this process, on free ports of 127.0.0.1, over fake upstreams.

It is the real thing from the configuration file on: only the environment is made up.
"""

import asyncio
import contextlib
import io
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
import structlog
import uvloop

from lowproxy import logs
from lowproxy.catalogue import open_config
from lowproxy.core.record import UsageRecord
from lowproxy.providers.provider import Destination, UpstreamRequest
from lowproxy.server import app, books, door, keeping, making, reload
from lowproxy.server.aiohttp_server import PublicServer
from lowproxy.store import ledger, shared
from lowproxy.transport import dispatch, fast, public
from lowproxy.transport.answer import Answer
from tests.fakes import LIMIT_S, FakeUpstream, RawCaller, Tally

KEY = "lr-sk-callers-canary-8d1f0c5e7b3a49261122334455"
PROVIDER_KEY = "sk-providers-canary-11223344"
MODEL = "acme/small"
CHAT = "/api/v1/chat/completions"

# Both ways up go through the same tests.
CLIENTS: dict[str, Any] = {
    "fast": fast.running_client,
    "public": public.running_client,
}


@attrs.frozen
class Place:
    """One provider with one endpoint; earlier places are cheaper, so asked first."""

    upstream: FakeUpstream | str  # or a base URL
    region: str = "eu-west"
    provider: str = ""  # default: p1, p2, ... by position
    zone: str = "FR"
    options: str = ""  # more of the provider's row

    @property
    def base_url(self) -> str:
        """Where it is."""
        up = self.upstream
        return up if isinstance(up, str) else up.base_url


def provider_key(provider: str) -> str:
    """The credential that the made-up environment holds for a provider."""
    return f"sk-providers-canary-{provider}-0a9b8c7d6e5f"


def config_text(places: list[Place], server: str = "", extra: str = "") -> str:
    """The configuration file for some places; `server` is for its `[server]` table."""
    tables = [
        "[catalogue]\nenabled = false",
        '[server]\nlisten = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\n' + server,
    ]
    for number, place in enumerate(places, 1):
        name = place.provider
        tables.append(
            f'[[providers]]\nid = "{name}"\napi_key_env = "{name.upper()}_KEY"\n'
            f"{place.options}\n"
            f'[[providers.endpoints]]\nid = "{name}-{place.region}"\n'
            f'region = "{place.region}"\nzone = "{place.zone}"\n'
            f'base_url = "{place.base_url}"'
        )
        tables.append(
            f'[[models]]\nid = "{MODEL}"\nprovider = "{name}"\n'
            'upstream_model = "upstream-small"\ntotal_params_b = 24\n'
            f"price_prompt = {number}.0\nprice_completion = {number}.0"
        )
    return "\n".join([*tables, extra, ""])


class Books:
    """Every record that a gateway writes down, and the wait for one."""

    def __init__(self, gateway: app.Gateway) -> None:
        self.records: list[UsageRecord] = []
        self._tally = Tally()
        metrics = gateway.parts.metrics
        inner = metrics.count

        def count(*records: UsageRecord) -> None:
            self.records.extend(records)
            inner(*records)
            for _ in records:
                self._tally.hit()

        metrics.count = count  # type: ignore[method-assign]

    async def record(self, number: int = 1) -> UsageRecord:
        """The record of the `number`th request to end."""
        await self._tally.wait(number)
        return self.records[number - 1]


class Running:
    """A gateway that is up, as a test sees it."""

    def __init__(self, gateway: app.Gateway) -> None:
        self.gateway = gateway
        self.parts = gateway.parts
        self.port = gateway.listen.port
        self.admin_port = gateway.admin_listen.port
        self.books = Books(gateway)

    def caller(self, *, key: str | None = KEY, rcvbuf: int | None = None) -> RawCaller:
        """A caller with a good key."""
        return RawCaller(self.port, key=key, rcvbuf=rcvbuf)

    async def chat(self, body: Any = None, **fields: Any) -> "Told":
        """One whole chat completion; `fields` go into the body of `ask`."""
        async with self.caller() as caller:
            reply = await caller.post(CHAT, ask(**fields) if body is None else body)
            return Told(reply.status, reply.headers, await reply.rest())

    async def admin(self, path: str) -> "Told":
        """A GET on the admin port."""
        async with RawCaller(self.admin_port) as caller:
            reply = await caller.get(path)
            return Told(reply.status, reply.headers, await reply.rest())


@attrs.frozen
class Told:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of the body."""
        error = self.json()["error"]
        assert isinstance(error, dict)
        return error


def ask(model: str = MODEL, **fields: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}


def asking(stream: bool = True, usage: bool = False, **fields: Any) -> dict[str, Any]:
    """A chat request for a stream, with or without the wish for usage."""
    if usage:
        fields["stream_options"] = {"include_usage": True}
    return ask(stream=stream, **fields)


@contextlib.asynccontextmanager
async def gateway_over(
    folder: Path,
    *upstreams: FakeUpstream | Place,
    server: str = "",
    extra: str = "",
    environ: Mapping[str, str] | None = None,
    hurry: bool = True,
) -> AsyncIterator[Running]:
    """Runs a gateway whose candidates for MODEL are the upstreams, in that order.

    At its end idle connections are not lingered for, unless `hurry` is false.
    """
    places = [
        each if isinstance(each, Place) else Place(each, provider=f"p{n}")
        for n, each in enumerate(upstreams, 1)
    ]
    places = [
        attrs.evolve(place, provider=place.provider or f"p{n}")
        for n, place in enumerate(places, 1)
    ]
    file = folder / f"lowproxy-{len(os.listdir(folder))}.toml"
    file.write_text(config_text(places, server, extra))
    made_up = {f"{p.provider.upper()}_KEY": provider_key(p.provider) for p in places}
    made_up |= {"LOWROUTER_API_KEY": KEY, "STATE_DIRECTORY": str(folder / "state")}
    config, catalogue = open_config(file, {**made_up, **(environ or {})})
    async with app.running(config, catalogue) as gateway:
        gateway.parts.life.hurry = hurry
        yield Running(gateway)


async def settled(value: Callable[[], object], turns: int = 200) -> None:
    """Returns when `value()` has not changed for that many turns of the loop.

    Upstream, gateway and caller share the loop: what does not move then is waiting.
    """
    async with asyncio.timeout(LIMIT_S):
        last, same = value(), 0
        while same < turns:
            await asyncio.sleep(0)
            now = value()
            last, same = now, same + 1 if now == last else 0


def nothing_came(caller: RawCaller) -> bool:
    """Whether the caller's socket has nothing to read, not even the end."""
    try:
        caller._sock.recv(1, 2)  # MSG_PEEK
    except BlockingIOError:
        return not caller._buffer
    return False


def request_to(
    base_url: str, body: bytes = b"{}", extra: Sequence[tuple[str, str]] = ()
) -> UpstreamRequest:
    """A request as a dialect makes it."""
    to = Destination(
        endpoint_id="acme-paris",
        url=f"{base_url}/chat/completions",
        fixed=(
            ("Content-Type", "application/json"),
            ("Accept-Encoding", "identity"),
            ("Authorization", f"Bearer {PROVIDER_KEY}"),
        ),
    )
    return UpstreamRequest(to, extra=list(extra), pieces=(body,))


async def whole(answer: Answer) -> bytes:
    """The rest of an upstream's body."""
    parts = []
    while data := await answer.more():
        parts.append(data)
    return b"".join(parts)


# --- fixtures, imported by the conftest of each folder that runs gateways -------------


def uvloop_factories() -> dict[str, Any]:
    """The loop that production runs, for `pytest_asyncio_loop_factories`."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=sorted(CLIENTS))
def client_kind(request):
    """Which way up the gateway uses."""
    return request.param


@pytest.fixture
def log_text(monkeypatch):
    """All that is logged, as it would be written."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    before = structlog.get_config()
    flush = logs.set_up("json", stream, batched=True)  # as `lowproxy serve` does
    # A logger that was used before has kept its old stream.
    for module in (door, app, books, keeping, ledger, dispatch, reload, shared):
        monkeypatch.setattr(module, "log", structlog.get_logger("x"))

    def text() -> str:
        flush()  # lines wait for each other; a test does not wait for them
        return raw.getvalue().decode()

    yield text
    flush()
    logs.set_up("json")  # nothing is batched any more
    structlog.configure(**before)


@pytest.fixture
async def serve(tmp_path, monkeypatch, client_kind, log_text):
    """Starts gateways: `running = await serve(upstream, ..., extra=toml)`."""
    # The fast way up goes with the direct way down, the public one with the public one.
    monkeypatch.setitem(making.CLIENTS, "fast", CLIENTS[client_kind])
    monkeypatch.setattr(books, "DELAY_S", 0.0)
    if client_kind == "public":
        monkeypatch.setitem(app.SERVERS, "direct", PublicServer)
    async with contextlib.AsyncExitStack() as stack:

        async def start(*upstreams: FakeUpstream | Place, **options: Any) -> Running:
            return await stack.enter_async_context(
                gateway_over(tmp_path, *upstreams, **options)
            )

        yield start


@pytest.fixture
async def other():
    """A second fake upstream."""
    async with FakeUpstream() as up:
        yield up
