"""What a caller reads of each provider's kind of stream (`tests/streams/*.sse`)."""

import re
from pathlib import Path

import attrs
import pytest
from openai.types.chat import ChatCompletionChunk

from lowproxy.core.usage import Usage
from tests.sse_reader import comments, read_chunks
from tests.tails import MODEL, chunks, cuttings, marked, passed, tail, unmarked

STREAMS = Path(__file__).parents[1] / "streams"
_MODEL = re.compile(rb'("model": ?)"[^"]*"')


@attrs.frozen
class Expected:
    """What comes of a stream: its text, how it ends, what is known of its tokens."""

    text: str
    finish: tuple[str, ...]
    usage: Usage
    made: int = 0  # chunks of our own, for a caller who did not ask
    made_asked: int = 0


def counted(completion):
    """Our own count, over seven tokens of prompt."""
    return Usage(7, completion, counted=True)


EXPECTED = {
    "openai": Expected(
        "A vector database finds what is near –.", ("stop",), Usage(14, 9)
    ),
    "openai_tools": Expected("", ("tool_calls",), Usage(14, 9)),
    "openai_n2": Expected("YesNo way", ("stop", "length"), Usage(14, 9)),
    "azure": Expected("Grüezi mitenand!", ("stop",), Usage(14, 9)),
    "azure_async_filter": Expected(
        "One two", ("stop",), counted(2), made=1, made_asked=1
    ),
    "mistral": Expected("Bonjour !", ("stop",), Usage(5, 4)),
    "deepseek": Expected("好", ("stop",), Usage(11, 6, cached=8, reasoning=4)),
    "openrouter": Expected("Sure: 42", ("stop",), Usage(8, 3), made=1, made_asked=1),
    "openrouter_error": Expected("Half", ("error",), counted(1)),
    "groq": Expected("Hi!", ("stop",), Usage(20, 2)),
    "vllm_continuous_usage": Expected("Hello", ("stop",), Usage(17, 3)),
    "ollama": Expected("1, 2", ("stop",), Usage(31, 4)),
    "llamacpp": Expected("Hello!", ("stop",), Usage(10, 4)),
    "gemini": Expected("Count: 1, 2, 3, 4, 5.", ("stop",), Usage(6, 17)),
    "neuralwatt": Expected("Low carbon", ("stop",), Usage(12, 3)),
    "neuralwatt_early": Expected("Low", ("stop",), Usage(12, 3)),
    "sse_starlette": Expected("café 😀", ("length",), counted(2), made_asked=1),
    "named_events": Expected("您好！", ("stop",), Usage(2, 7)),
    "empty_usage": Expected("Hey you", ("stop",), counted(2), made_asked=1),
    "single": Expected(
        'All at once: "usage": [DONE] data: {"model":"x"}', ("stop",), Usage(3, 14)
    ),
}
ASKED = pytest.mark.parametrize("asked", [False, True], ids=["unasked", "asked"])
EACH = pytest.mark.parametrize("name", EXPECTED)


def stream_of(name):
    return (STREAMS / f"{name}.sse").read_bytes()


def test_every_stream_is_expected():
    """No file lies there unread."""
    assert {path.stem for path in STREAMS.glob("*.sse")} == set(EXPECTED)


@EACH
@ASKED
def test_the_cut_does_not_show(name, asked):
    """Each split in two, and reads of each small size, give the same bytes."""
    stream = stream_of(name)
    whole = passed(stream, asked=asked)

    assert all(passed(pieces, asked=asked) == whole for pieces in cuttings(stream))


@EACH
@ASKED
def test_what_the_caller_reads(name, asked):
    """The text, the finish reasons, our model in every chunk; `lowrouter` in the last."""
    expected = EXPECTED[name]
    machine = tail(asked=asked)
    out = machine.feed(stream_of(name)) + machine.close()
    said = chunks(out)

    choices = [choice for chunk in said for choice in chunk["choices"]]
    text = [choice.get("delta", {}).get("content") or "" for choice in choices]
    assert "".join(text) == expected.text
    reasons = [choice.get("finish_reason") for choice in choices]
    assert tuple(reason for reason in reasons if reason) == expected.finish
    assert {chunk["model"] for chunk in said} == {MODEL}
    assert marked(out) == [len(said) - 1]
    assert machine.known_usage() == expected.usage
    told = said[-1]["lowrouter"]["usage"][:2]
    assert told == [expected.usage.prompt, expected.usage.completion]
    assert (read_chunks(out)[-1] == "[DONE]") == ("error" not in said[-1])


@EACH
def test_who_did_not_ask(name):
    """Every chunk has a choice, and but for `model` and the annotation the events are the upstream's."""
    stream = stream_of(name)
    out = passed(stream)

    assert all(chunk["choices"][0] is not None for chunk in chunks(out))
    kept = events_of(stream, lambda chunk: chunk == "[DONE]" or chunk["choices"])
    assert same(unmarked(out), kept, EXPECTED[name].made)


@EACH
def test_who_asked(name):
    """The final chunk is the usage chunk, or the finish chunk where the upstream has usage there."""
    stream = stream_of(name)
    out = passed(stream, asked=True)

    final = chunks(out)[-1]
    if "error" not in final:
        assert final["usage"]["completion_tokens"] == EXPECTED[name].usage.completion
    assert same(
        unmarked(out), events_of(stream, lambda _: True), EXPECTED[name].made_asked
    )


@EACH
@ASKED
def test_comments_stay(name, asked):
    """Heartbeats and measured energy reach the caller."""
    stream = stream_of(name)

    assert comments(passed(stream, asked=asked)) == comments(stream)


@EACH
@ASKED
def test_the_sdk_reads_it(name, asked):
    """OpenAI's own types take every chunk, and find `lowrouter` where the owner's page says."""
    read = [
        ChatCompletionChunk.construct(**chunk)
        for chunk in chunks(passed(stream_of(name), asked=asked))
    ]

    assert all(chunk.model == MODEL for chunk in read)
    assert "lowrouter" in (read[-1].model_extra or {})


def events_of(stream, wanted):
    """The events of a stream as the caller should get them, those unwanted left out."""
    end = b"\r\n\r\n" if b"\r\n" in stream else b"\n\n"
    kept = []
    for raw in stream.split(end)[:-1]:
        event = raw + end
        if all(wanted(chunk) for chunk in read_chunks(event)):
            kept.append(_MODEL.sub(rb'\1"acme/small"', event, count=1))
    return kept


def same(out, kept, made):
    """Whether `out` is the kept events, with so many more in front of its mark."""
    done = [e for e in kept if read_chunks(e) == ["[DONE]"]] or [b"data: [DONE]\n\n"]
    body = b"".join(e for e in kept if e not in done)
    if not out.startswith(body):
        return False
    rest = out[len(body) :]
    return len(chunks(rest)) == made and (not rest or rest.endswith(done[0]))
