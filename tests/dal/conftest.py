"""A real PostgreSQL for these tests, and a database of their own for each."""

from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest

from common import db
from tools.local.ports import free_ports
from tools.local.postgres import Postgres


@dataclass(frozen=True)
class Database:
    """URLs of one database: its owner's and the functions'."""

    owner_url: str
    app_url: str


def connect(url):
    """An autocommitting connection of ours."""
    return db.Connection(db.connect_url(url))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Postgres(tmp_path_factory.mktemp("postgres"), free_ports(1)[0], durable=False)
    server.start()
    yield server
    server.stop()


@contextmanager
def new_database(server):
    """An empty database of `server`, dropped at the end."""
    name = f"test_{uuid4().hex}"
    conn = connect(server.owner_url)
    try:
        conn._raw.execute_simple(f"CREATE DATABASE {name}")
        yield Database(*(url.rpartition("/")[0] + f"/{name}" for url in (server.owner_url, server.app_url)))
        conn._raw.execute_simple(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        conn.close()


@pytest.fixture
def database(server):
    with new_database(server) as database:
        yield database
