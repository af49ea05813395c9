"""What a stream says of its energy, and when its final chunk leaves because of it."""

import pytest

from lowproxy.core.eco import Reading
from lowproxy.core.tail import TailRewriter
from tests.fakes import openai_chunk, sse, usage_chunk
from tests.tails import DONE, MODEL, annotate, chunks, cuttings, marked

TEXT = sse(openai_chunk("Hello"), done=False)
FINISH = sse(openai_chunk(finish_reason="stop"), done=False)
USAGE = sse(usage_chunk(), done=False)
ENERGY = b': energy {"energy_joules": 36.0, "grid_id": "FI"}\n\n'
COST = b': cost {"usd": 0.0001}\n\n'
IMPACT = {"energy": {"total": 36_000, "unit": "Wms"}}


class Listening:
    """A tail, what it heard, and how much of it before it annotated."""

    def __init__(self, *, asked=False, late=False):
        self.heard: list[Reading] = []
        self.before: list[int] = []
        self.tail = TailRewriter(
            model=MODEL,
            wants_usage=asked,
            annotate=self._annotate,
            prompt_tokens=7,
            hear=self.heard.append,
            reading_is_late=late,
        )

    def _annotate(self, usage):
        self.before.append(len(self.heard))
        return annotate(usage)

    def passed(self, *pieces):
        """What leaves in all, of a stream that ends cleanly."""
        return b"".join([self.tail.feed(each) for each in pieces]) + self.tail.close()


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("at", range(6))
def test_a_comment_is_heard_wherever_it_stands(asked, late, at):
    """And it passes untouched, once, wherever the network cuts."""
    events = [TEXT, FINISH, USAGE, COST, DONE]
    events.insert(at, ENERGY)
    stream = b"".join(events)
    outs = set()
    for pieces in ([stream], *cuttings(stream)):
        listening = Listening(asked=asked, late=late)
        outs.add(listening.passed(*pieces))
        assert [each.energy_wh for each in listening.heard] == [0.01]
    (out,) = outs
    assert out.count(ENERGY) == out.count(COST) == 1
    assert len(marked(out)) == 1


def test_a_comment_behind_a_held_chunk_is_in_time():
    """Usage that follows releases the chunk: the comment has been heard by then."""
    listening = Listening()
    assert listening.passed(TEXT, FINISH, ENERGY, USAGE, DONE).endswith(ENERGY + DONE)
    assert listening.before == [1]


def test_the_finish_chunk_waits_where_the_comment_is_late():
    """It leaves with the comment, not with the usage; nothing else is held back."""
    listening = Listening(late=True)
    tail = listening.tail
    assert tail.feed(TEXT)
    assert tail.feed(FINISH) == b""
    assert tail.feed(USAGE) == b""
    assert tail.holding
    assert tail.feed(COST) == b""
    out = tail.feed(ENERGY)
    assert out.endswith(COST + ENERGY)
    assert marked(out) == [0]
    assert listening.before == [1]
    assert tail.feed(DONE) == DONE
    assert tail.close() == b""


def test_the_usage_chunk_of_who_asked_never_waits():
    """It leaves annotated as it comes, and a comment behind it is heard for the record."""
    listening = Listening(asked=True, late=True)
    assert listening.tail.feed(TEXT + FINISH)
    assert marked(listening.tail.feed(USAGE)) == [0]
    assert not listening.tail.holding
    assert listening.tail.feed(ENERGY + DONE) == ENERGY + DONE
    assert (len(listening.heard), listening.before) == (1, [0])


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    "end",
    [DONE, b"", COST + DONE, sse(openai_chunk("more")), b"data: odd\n\n" + DONE],
)
def test_waiting_changes_no_bytes(asked, end):
    """Where no comment comes the stream is the one that did not wait."""
    stream = TEXT + FINISH + USAGE + end
    late = Listening(asked=asked, late=True).passed(stream)
    assert late.replace(COST, b"") == Listening(asked=asked).passed(stream).replace(
        COST, b""
    )


def test_the_wait_has_an_end():
    """The relay's timer releases the chunk, annotated; the comment is heard after it."""
    listening = Listening(late=True)
    listening.tail.feed(TEXT + FINISH + USAGE)
    out = listening.tail.release()
    assert marked(out) == [0]
    assert listening.tail.feed(ENERGY + DONE) == ENERGY + DONE
    assert (len(listening.heard), listening.before) == (1, [0])


@pytest.mark.parametrize("asked", [False, True])
def test_a_break_while_waiting_loses_nothing(asked):
    """The final chunk leaves whole: nothing was missing but the mark."""
    listening = Listening(asked=asked, late=True)
    begin = listening.tail.feed(TEXT + FINISH + USAGE)
    out = listening.tail.fail({"error": {"message": "cut"}})
    assert out.endswith(DONE)
    assert b"error" not in out
    assert len(marked(begin + out)) == 1
    assert listening.tail.done


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    ("finish", "usage"), [({"impact": IMPACT}, {}), ({}, {"impact": IMPACT})]
)
def test_a_member_of_the_last_chunks_is_heard(asked, finish, usage):
    """In the finish chunk or in the one with the usage, before anybody annotates."""
    listening = Listening(asked=asked)
    out = listening.passed(
        TEXT,
        sse(openai_chunk(finish_reason="stop", **finish), done=False),
        sse({**usage_chunk(), **usage}, done=False),
        DONE,
    )
    assert [each.energy_wh for each in listening.heard] == pytest.approx([0.01])
    assert listening.before == [1]
    assert len(marked(out)) == 1


def test_a_chunk_of_figures_alone_is_heard():
    """It has no choices and no usage: it passes, and releases what was held."""
    listening = Listening()
    out = listening.passed(TEXT, FINISH, sse({"impact": IMPACT}, done=False), DONE)
    assert len(listening.heard) == 1
    assert chunks(out)[2] == {"impact": IMPACT}


def test_nobody_has_to_listen():
    """A tail without `hear` passes the same bytes."""
    tail = TailRewriter(model=MODEL, wants_usage=False, annotate=annotate)
    stream = TEXT + FINISH + ENERGY + USAGE + DONE
    assert tail.feed(stream) + tail.close() == Listening().passed(stream)


def test_text_about_energy_is_text():
    """Only comments and final chunks are asked."""
    listening = Listening()
    odd = openai_chunk('\n: energy {"energy_joules": 1}', energy={"energy_joules": 1})
    listening.passed(sse(odd, done=False), FINISH, USAGE, DONE)
    assert listening.heard == []
