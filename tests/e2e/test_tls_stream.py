"""A stream of the OpenAI SDK through a gateway of its own process, over TLS on both sides."""

import asyncio
import contextlib
import json
import ssl

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from tests.certificates import authority
from tests.e2e.conftest import running_gateway

pytestmark = pytest.mark.e2e

WORDS = [f" w{n:03}" for n in range(300)]
CHUNK = (
    'data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"up",'
    '"choices":[{"index":0,"delta":{"content":%s},"finish_reason":%s}]}\n\n'
)
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)

CONFIG = """
[catalogue]
enabled = false

[server]
tls_cert_file = "{cert}"
tls_key_file = "{key}"

[upstream]
ca_file = "{ca}"

[[providers]]
id = "acme"
api_key_env = "ACME_KEY"

  [[providers.endpoints]]
  region = "eu-west"
  zone = "FR"
  base_url = "https://localhost:{port}/v1"

[[models]]
id = "acme/small"
provider = "acme"
upstream_model = "up"
total_params_b = 24
active_params_b = 24
weight_bits = 8
"""


async def talk(reader, writer):
    """One request after the other gets the words, a chunk of HTTP and a TLS record each."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            writer.write(HEAD)
            for word in WORDS:
                write(writer, CHUNK % (json.dumps(word), "null"))
                await writer.drain()
                await asyncio.sleep(0.0005)  # a read each, in the other process
            write(writer, CHUNK % ('""', '"stop"'))
            write(writer, "data: [DONE]\n\n")
            writer.write(b"0\r\n\r\n")
    writer.close()


def write(writer, event):
    """One chunk of HTTP."""
    writer.write(b"%x\r\n%b\r\n" % (len(event), event.encode()))


async def test_every_word_arrives(tmp_path):
    """In order and once, with the resolved model, the count of the words and `lowrouter` in the last chunk."""
    ca = authority(tmp_path / "ca")
    up, own = ca.issue("upstream"), ca.issue("gateway")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(up.cert, up.key)
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    config = CONFIG.format(port=port, cert=own.cert, key=own.key, ca=ca.pair.cert)
    with running_gateway(tmp_path, config, ACME_KEY="sk-acme-0123456789") as gateway:
        trust = ssl.create_default_context(cafile=ca.pair.cert)
        async with (
            server,
            DefaultAsyncHttpxClient(verify=trust) as http,
            AsyncOpenAI(
                base_url=gateway.base_url.replace("http:", "https:"),
                api_key=gateway.key,
                http_client=http,
            ) as client,
        ):
            for _ in range(3):  # on the same connections
                told, last = await stream(client)
                assert told == WORDS
                assert last.usage is not None
                assert last.usage.completion_tokens == len(WORDS)
                assert last.model_extra is not None
                assert last.model_extra["lowrouter"]["provider"] == "acme"
            server.close()


async def stream(client):
    """The words of an answer, and its last chunk."""
    words, chunk = [], None
    async for chunk in await client.chat.completions.create(
        model="acme/small",
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
        stream_options={"include_usage": True},
    ):
        assert chunk.model == "acme/small"
        if chunk.choices and chunk.choices[0].delta.content:
            words.append(chunk.choices[0].delta.content)
    return words, chunk
