"""A PostgreSQL of the rules' own, migrated, without the rest of the stack: no sweep and no worker come in between."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest

from common.auth.caller import Caller
from common.auth.scopes import ALL
from common.dal import accounts, credits
from common.db import Connection, connect_url
from common.platforms import Detected
from tests.conftest import ROOT
from tools.local.ports import free_ports
from tools.local.postgres import Postgres


@dataclass
class Database:
    owner_url: str
    app_url: str

    @contextmanager
    def connection(self, url=None):
        """A connection as the functions have it, or of another role by its URL."""
        conn = Connection(connect_url(url or self.app_url))
        try:
            yield conn
        finally:
            conn.close()

    def sql(self, statement, **params):
        """Rows, asked as the owner."""
        with self.connection(self.owner_url) as conn:
            return conn.rows(statement, **params)

    def account(self, granted=0):
        """A new account's caller."""
        with self.connection() as conn, conn.transaction():
            account_id = accounts.insert(conn, f"{uuid4()}@renderiq.example", "Somebody", "no hash")
            if granted:
                credits.grant(conn, account_id, granted)
        return Caller(
            account_id=account_id,
            kind="session",
            scopes=frozenset(ALL),
            email="",
            name="",
            key_id=None,
            key_name=None,
            key_platforms=frozenset(),
            key_expires_at=None,
            session_id=uuid4(),
            platform=Detected("sketchup", "1.2.0", "header"),
            user_agent="test",
            address="127.0.0.1",
            request_id="test-request",
        )

    def upload(self, caller):
        """The id of a ready snapshot."""
        return self.sql(
            """
            INSERT INTO uploads (account_id, status, purpose, file_name, content_type, size_bytes, object_name,
                                 generation, width, height, expires_at)
            VALUES (:account_id::uuid, 'ready', 'snapshot', 'a.png', 'image/png', 1, gen_random_uuid()::text, 1, 8, 8,
                    now())
            RETURNING id
            """,
            account_id=caller.account_id,
        )[0]["id"]


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    server = Postgres(tmp_path_factory.mktemp("database"), *free_ports(1), durable=False)
    server.start()
    env = dict(os.environ) | {"MIGRATIONS_DATABASE_URL": server.owner_url}
    subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=ROOT, env=env, check=True)
    yield Database(server.owner_url, server.app_url)
    server.stop()
