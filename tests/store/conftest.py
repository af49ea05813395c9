"""Databases to test: SQLite always, PostgreSQL and Redis where they are installed."""

import importlib.util

import pytest

from lowproxy.store.connecting import connect
from tests import servers
from tests.gateway import log_text, uvloop_factories

__all__ = ["log_text"]


def pytest_asyncio_loop_factories():
    """uvloop, as `lowproxy serve` picks it."""
    return uvloop_factories()


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL, shared by the session's tests."""
    if servers.program("initdb") is None:
        pytest.skip("PostgreSQL is not installed here (apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed here (the extra postgresql)")
    with servers.running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres):
    """An empty database of it."""
    admin = connect(servers.url_of(postgres))
    admin.execute("DROP DATABASE IF EXISTS books WITH (FORCE)")
    admin.execute("CREATE DATABASE books")
    admin.close()
    return servers.url_of(postgres, "books")


@pytest.fixture
def redis_server():
    """A real Redis or Valkey."""
    if servers.redis_program() is None:
        pytest.skip("Redis is not installed here (apt-get install redis-server)")
    if importlib.util.find_spec("redis") is None:
        pytest.skip("redis-py is not installed here (the extra redis)")
    with servers.running_redis() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/books/ledger.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def database(store_url):
    """It, connected."""
    connected = connect(store_url)
    yield connected
    connected.close()
