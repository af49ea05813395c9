"""`lowproxy chat` prints what a gateway streams, and says what went wrong otherwise."""

import asyncio
import io
import sys

import pytest

from lowproxy.cli import main
from lowproxy.cli.chat import EXIT_UNAVAILABLE, Reading, eco_line
from tests.fakes import Answer, FakeUpstream, openai_chunk, refusing_port, sse

LOWROUTER = {
    "generation_id": "gen_1",
    "provider": "acme",
    "region": "eu-west",
    "eco": {
        "energy_wh": 0.012345,
        "carbon_g": 0.00098765,
        "carbon_per_1k_tokens_g": 0.1,
        "accuracy": "medium",
        "methodology_version": "x",
    },
}
ECO_LINE = "[acme, eu-west, 0.0123 Wh, 0.000988 g CO2e, accuracy medium]"
STREAM = sse(
    b": hello\n\n",
    openai_chunk(delta={"role": "assistant", "content": ""}),
    openai_chunk("Bon"),
    openai_chunk("jour \u00e9t\u00e9"),
    openai_chunk(finish_reason="stop", lowrouter=LOWROUTER),
)


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("LOWROUTER_API_KEY", raising=False)


async def chat(up, *arguments):
    """The exit code of `lowproxy chat` against a fake gateway."""
    command = ["chat", "--url", up.base_url, *arguments]
    return await asyncio.to_thread(main, command)


@pytest.mark.parametrize("size", [1, 7, len(STREAM)])
async def test_streams_the_answer_and_the_eco_line(upstream, capsys, size):
    """However the stream is cut: its text, a line end, the eco line, exit 0."""
    pieces = [STREAM[i : i + size] for i in range(0, len(STREAM), size)]
    upstream.script = [Answer.stream(*pieces)]

    assert await chat(upstream, "Say", "hello") == 0

    assert capsys.readouterr().out == f"Bonjour \u00e9t\u00e9\n{ECO_LINE}\n"


async def test_what_it_asks(upstream, capsys, monkeypatch):
    """The words are one prompt; the key comes from the environment, the region goes as a pin."""
    monkeypatch.setenv("LOWROUTER_API_KEY", "lr-sk-from-env")
    upstream.script = [Answer.stream(STREAM)]

    await chat(upstream, "Say", "hello", "--model", "acme/small", "--region", "eu-west")

    (seen,) = upstream.seen
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.header("Authorization") == "Bearer lr-sk-from-env"
    assert seen.json() == {
        "model": "acme/small",
        "messages": [{"role": "user", "content": "Say hello"}],
        "stream": True,
        "route": {"region": "eu-west"},
    }


async def test_defaults(upstream, capsys, monkeypatch):
    """Without options it asks lowrouter/auto without a pin; --key outranks the environment."""
    monkeypatch.setenv("LOWROUTER_API_KEY", "lr-sk-from-env")
    upstream.script = [Answer.stream(STREAM)]

    await chat(upstream, "hello", "--key", "lr-sk-given")

    (seen,) = upstream.seen
    assert seen.header("Authorization") == "Bearer lr-sk-given"
    assert seen.json()["model"] == "lowrouter/auto"
    assert "route" not in seen.json()


async def test_no_gateway(capsys):
    """Where nobody listens it says how to start one, and exits 69."""
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/api/v1"
        code = await asyncio.to_thread(main, ["chat", "--url", url, "hi"])

    assert code == EXIT_UNAVAILABLE == 69
    assert "`lowproxy serve`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer.of({"error": {"message": "no such model"}}, 404), "no such model\n"),
        (Answer.of({"error": {"message": "no key"}}, 401), "set LOWROUTER_API_KEY"),
        (Answer(b"<html>", 500), "HTTP 500"),
        (Answer(b"<html>", 200), "base URL"),
        (Answer(b"", 307, [("Location", "http://127.0.0.1:9/")]), "HTTP 307"),
    ],
)
async def test_refusals(upstream, capsys, answer, said):
    """A refusal's message is printed, and the exit code is 1."""
    upstream.script = [answer]

    assert await chat(upstream, "hi") == 1

    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


async def test_an_error_within_the_stream(upstream, capsys):
    """What came before an error is shown, then the error's message; exit 1."""
    error = {"error": {"message": "the upstream broke"}, "lowrouter": LOWROUTER}
    upstream.script = [Answer.stream(sse(openai_chunk("Bon"), error, done=False))]

    assert await chat(upstream, "hi") == 1

    captured = capsys.readouterr()
    assert captured.out == f"Bon\n{ECO_LINE}\n"
    assert captured.err == "lowproxy chat: the upstream broke\n"


async def test_an_answer_that_stops_short(upstream, capsys):
    """A stream without its end is not taken for a whole one."""
    upstream.script = [Answer.stream(sse(openai_chunk("Bon"), done=False))]

    assert await chat(upstream, "hi") == 1
    assert "ended before its end" in capsys.readouterr().err


async def test_a_broken_connection(upstream, capsys):
    """A connection that breaks is said to be the reason."""
    upstream.script = [Answer.stream(sse(openai_chunk("Bon"), done=False), cut=True)]

    assert await chat(upstream, "hi") == 1
    assert "connection to the gateway failed" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x/", "http://"])
def test_a_url_that_is_none(capsys, url):
    """A base URL without a scheme is a usage error that shows what one looks like."""
    with pytest.raises(SystemExit) as stopped:
        main(["chat", "--url", url, "hi"])

    assert stopped.value.code == 2
    assert "http://127.0.0.1:8080/api/v1" in capsys.readouterr().err


async def test_a_terminal(upstream, monkeypatch):
    """On a terminal the eco line is dim, and the answer cannot drive the terminal."""
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = openai_chunk("a\x1b[2Jb\x9b\tc\n")
    final = openai_chunk(finish_reason="stop", lowrouter=LOWROUTER)
    upstream.script = [Answer.stream(sse(text, final))]

    assert await chat(upstream, "hi") == 0

    answer, _, eco = out.getvalue().partition("\n\n")
    assert answer == "a[2Jb\tc"
    assert "\x1b[2m" in eco
    assert ECO_LINE in eco


async def test_a_terminal_without_rich(upstream, monkeypatch):
    """Without the extra the same line is plain."""
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    upstream.script = [Answer.stream(STREAM)]

    assert await chat(upstream, "hi") == 0
    assert out.getvalue().endswith(f"\n{ECO_LINE}\n")


async def test_a_narrow_encoding(upstream, monkeypatch):
    """What the output cannot show is replaced, not a crash."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    upstream.script = [Answer.stream(STREAM)]

    assert await chat(upstream, "hi") == 0
    assert raw.getvalue().startswith(b"Bonjour ?t?\n")


def test_unknown_figures_are_not_invented():
    """Without an eco block the line says that nothing is known."""
    line = eco_line({"provider": "acme", "region": "eu-west"})

    assert line == "[acme, eu-west, energy and carbon unknown]"


@pytest.mark.parametrize(
    "event",
    [
        b": comment\n\n",
        b"data: not json\n\n",
        b"data: []\n\n",
        b'data: {"choices":[]}\n\n',
        b'data: {"choices":null}\n\n',
        b'data: {"choices":[{"delta":{"content":null}}]}\n\n',
        b"\n",
        b"",
    ],
)
def test_events_without_text(event):
    """Whatever else a stream holds adds nothing and stops nothing."""
    reading = Reading()

    assert reading.event(event) == ""
    assert reading == Reading()


async def test_pieces_are_shown_as_they_come(capsys):
    """A word is on the screen while the next one is still held back."""
    async with FakeUpstream() as up:
        shown = asyncio.Event()
        first, rest = sse(openai_chunk("Bon"), done=False), sse(openai_chunk("jour"))
        up.script = [Answer.stream(first, shown, rest)]
        task = asyncio.create_task(chat(up, "hi"))
        out = ""
        async with asyncio.timeout(10):
            while "Bon" not in out:
                await asyncio.sleep(0)
                out += capsys.readouterr().out
        assert out == "Bon"
        shown.set()
        assert await task == 0
