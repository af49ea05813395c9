"""The gateway keeps books of every request, and runs without where it cannot."""

import pytest

from lowproxy.errors import ConfigError
from lowproxy.store import ledger_books as books
from lowproxy.store.connecting import connect, open_migrated
from lowproxy.store.ledger_spill import Spill
from tests.fakes import Answer, openai_chunk, sse
from tests.gateway import CHAT, MODEL, ask, asking, gateway_over


def rows(folder):
    """All records of a gateway that has stopped."""
    database = connect(f"sqlite://{folder}/state/ledger.db", make=False)
    found = list(books.stream(database, 0, 1e12))
    database.close()
    return found


async def test_every_outcome_is_in_the_books(tmp_path, upstream, log_text):
    """Good, failed, cut, refused at the door: a row each, and none for what is no POST."""
    async with gateway_over(tmp_path, upstream) as gateway:
        word = sse(openai_chunk("a"), done=False)
        upstream.script = [
            Answer.stream(word, cut=True),
            Answer.of({}, 500),
        ]
        await gateway.chat(asking())
        await gateway.chat()
        await gateway.chat(b"{")
        async with gateway.caller(key="lr-sk-nobodys") as caller:
            await (await caller.post(CHAT, ask())).rest()
        async with gateway.caller() as caller:
            await (await caller.get("/api/v1/models")).rest()
        await gateway.chat()
        written = gateway.books.records

    kept = {row["generation_id"]: row for row in rows(tmp_path)}
    assert set(kept) == {each.generation_id for each in written if each.http_status} - {
        each.generation_id for each in written if each.endpoint == "models"
    }
    assert sorted(row["status"] for row in kept.values()) == [
        "client_error",
        "client_error",
        "ok",
        "upstream_error",
        "upstream_error",
    ]
    (good,) = (row for row in kept.values() if row["status"] == "ok")
    assert (good["resolved_model"], good["provider"]) == (MODEL, "p1")
    assert good["prompt_tokens"] == 9
    assert good["energy_wh_low"] < good["energy_wh"] < good["energy_wh_high"]


async def test_the_metrics_show_the_books(tmp_path, upstream, log_text):
    """The queue, and what became of records."""
    async with gateway_over(tmp_path, upstream) as gateway:
        await gateway.chat()
        text = (await gateway.admin("/metrics")).body.decode()

    assert 'lowproxy_queue_depth{queue="ledger"} 1.0' in text
    assert "lowproxy_ledger_up 1.0" in text
    assert 'lowproxy_ledger_records_total{outcome="lost"} 0.0' in text


async def test_a_directory_that_cannot_be_written_stops_nothing(
    tmp_path, upstream, log_text
):
    """One line says so, and requests are answered."""
    (tmp_path / "state").write_text("a file")
    async with gateway_over(tmp_path, upstream) as gateway:
        assert (await gateway.chat()).status == 200
        assert (await gateway.chat()).status == 200
        assert gateway.parts.ledger is not None
        assert not gateway.parts.ledger.counts.up

    assert log_text().count("ledger.away") == 1


async def test_without_a_state_directory_nothing_is_kept(tmp_path, upstream, log_text):
    """A line says so; where it is meant, none does."""
    none = {"STATE_DIRECTORY": ""}
    async with gateway_over(tmp_path, upstream, environ=none) as gateway:
        assert gateway.parts.ledger is None
        assert (await gateway.chat()).status == 200
    assert log_text().count("ledger.nowhere") == 1

    off = "[store]\nenabled = false"
    async with gateway_over(tmp_path, upstream, extra=off) as gateway:
        assert gateway.parts.ledger is None
    assert log_text().count("ledger.nowhere") == 1
    assert not (tmp_path / "state").exists()


async def test_a_store_of_a_newer_program_is_refused(tmp_path, upstream):
    """Before a port is opened: it would write what it does not know."""
    database = open_migrated(f"sqlite://{tmp_path}/state/ledger.db")
    database.execute("INSERT INTO lowproxy_migrations VALUES (99, 'later', 0)")
    database.close()

    with pytest.raises(ConfigError, match="store: .*version 99"):
        async with gateway_over(tmp_path, upstream):
            pass


async def test_no_word_and_no_secret_is_kept(tmp_path, upstream, log_text):
    """Prompt, answer, caller's name for a user, both keys: in no table, spill file, log line or metric."""
    said = {"content": "answer-canary-7741", "role": "assistant"}
    upstream.script = [
        Answer.of(
            {
                "id": "id-canary-7741",
                "object": "chat.completion",
                "model": "upstream-small",
                "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 3},
            }
        ),
        Answer.of({"error": {"message": "error-canary-7741"}}, 400),
        Answer.stream(sse(openai_chunk("stream-canary-7741"), done=False), cut=True),
    ]
    asked = ask(user="user-canary-7741", metadata={"a": "meta-canary-7741"})
    asked["messages"] = [{"role": "user", "content": "prompt-canary-7741"}]
    async with gateway_over(tmp_path, upstream) as gateway:
        assert (await gateway.chat(asked)).status == 200
        assert (await gateway.chat(asked)).status == 400
        await gateway.chat({**asked, "stream": True})
        await gateway.chat(b'{"body-canary-7741')
        assert gateway.parts.ledger is not None
        rows_ = [gateway.parts.ledger._rows.of(each) for each in gateway.books.records]
        Spill(tmp_path / "state" / "aside", 10**6).append(rows_)
        metrics = (await gateway.admin("/metrics")).body

    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert {path.name for path in kept} >= {"ledger.db", "ledger.spill.jsonl"}
    for text in (*(path.read_bytes() for path in kept), metrics, log_text().encode()):
        assert b"canary" not in text
    assert len(rows(tmp_path)) == 4
