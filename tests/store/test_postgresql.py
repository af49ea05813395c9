"""PostgreSQL's own: what is said when it is gone, and that a frozen one can be left."""

import signal
import threading
import time

import pytest

from lowproxy.store.connecting import connect
from lowproxy.store.database import StoreError
from tests.fakes import LIMIT_S
from tests.servers import free_port


def test_a_server_that_is_not_there_is_said_without_the_password(postgres):
    """Host and port are; the password of the URL is not."""
    port = free_port()

    with pytest.raises(StoreError, match=str(port)) as raised:
        connect(f"postgresql://someone:canary-5521@127.0.0.1:{port}/x", 1.0)

    assert "canary" not in str(raised.value)


def test_a_statement_has_a_limit(postgres_url):
    """The server's own clock ends what takes too long."""
    database = connect(postgres_url, 0.2)
    try:
        with pytest.raises(StoreError, match="timeout"):
            database.query("SELECT pg_sleep(?)", (LIMIT_S,))
    finally:
        database.close()


def test_a_frozen_server_can_be_left(postgres, postgres_url):
    """`abort`, from another thread, ends a wait that no server will end."""
    database = connect(postgres_url, LIMIT_S)
    (pid,) = database.query("SELECT pg_backend_pid()")[0]
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            database.query("SELECT pg_sleep(?)", (LIMIT_S,))
        except StoreError as exc:
            raised.append(exc)

    thread = threading.Thread(target=ask)
    import os

    thread.start()
    os.kill(pid, signal.SIGSTOP)
    try:
        while thread.is_alive():
            database.abort()  # before the question is sent it is as good
            time.sleep(0.01)
    finally:
        os.kill(pid, signal.SIGCONT)
    thread.join()

    assert raised
    database.close()
