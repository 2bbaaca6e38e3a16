"""The migrations, run as the operator runs them, on databases of their own."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.dal.conftest import connect, new_database
from tests.local.serving import wait_until
from tools.local.postgres import _binary

ROOT = Path(__file__).parents[2]
REVISIONS = [
    each.revision for each in reversed(list(ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).walk_revisions()))
]
HEAD = REVISIONS[-1]
#: What is only ever added to: money and what was sent.
APPEND_ONLY = ["audit_events", "credit_entries", "webhook_attempts"]


def alembic(url, *words, name="MIGRATIONS_DATABASE_URL"):
    """Run alembic on the database at `url`, told by the variable `name`."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], name: url},
        capture_output=True,
        text=True,
        timeout=120,
    )


def migrate(url, *words, **options):
    done = alembic(url, *(words or ("upgrade", "head")), **options)
    assert done.returncode == 0, done.stderr
    return done


def schema(url):
    """Everything that pg_dump tells of the schema, grants and owners too; in order, for columns come back as last ones."""
    parts = urlsplit(url)
    done = subprocess.run(
        [
            _binary("pg_dump"),
            "--schema-only",
            "-h",
            parts.hostname,
            "-p",
            str(parts.port),
            "-U",
            parts.username,
            parts.path[1:],
        ],
        env={"PGPASSWORD": parts.password},
        capture_output=True,
        text=True,
        check=True,
    )
    told = re.sub(r"^(--.*|\\(un)?restrict .*|)\n", "", done.stdout, flags=re.MULTILINE)
    return sorted(line.rstrip(",") for line in told.splitlines())


def run_sql(url, sql):
    parts = urlsplit(url)
    psql = [_binary("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", parts.hostname, "-p", str(parts.port)]
    return subprocess.run(
        [*psql, "-U", parts.username, parts.path[1:]],
        env={"PGPASSWORD": parts.password},
        input=sql,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def owner(database):
    conn = connect(database.owner_url)
    yield conn
    conn.close()


@pytest.fixture
def migrated(database):
    migrate(database.owner_url)
    return database


# Up and down --------------------------------------------------------------------------------------------------------


def test_each_revision_goes_up_and_down_and_up_to_the_same_schema(database):
    before = schema(database.owner_url)
    down_to = "base"
    for revision in REVISIONS:
        migrate(database.owner_url, "upgrade", revision)
        up = schema(database.owner_url)
        assert up != before
        migrate(database.owner_url, "downgrade", down_to)
        down = schema(database.owner_url)
        assert "CREATE TABLE public.alembic_version (" in down
        if down_to != "base":
            assert down == before
        migrate(database.owner_url, "upgrade", revision)
        assert schema(database.owner_url) == up
        before, down_to = up, revision


def test_what_is_left_of_it_at_the_base_is_alembics_own_table(database, owner):
    migrate(database.owner_url)
    migrate(database.owner_url, "downgrade", "base")
    left = owner.rows("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'")
    assert [row["relname"] for row in left] == ["alembic_version"]
    assert owner.rows("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == []


def test_a_database_that_is_older_than_the_image_is_brought_up(database):
    migrate(database.owner_url, "upgrade", REVISIONS[0])
    migrate(database.owner_url)
    assert HEAD in migrate(database.owner_url, "current").stdout


def test_a_migration_that_fails_leaves_nothing_of_itself(database, owner):
    """0001 makes `accounts` first and `webhook_attempts` last."""
    owner.rows("CREATE TABLE webhook_attempts (mine integer)")
    for name in ("MIGRATIONS_DATABASE_URL", "DATABASE_URL"):
        assert alembic(database.owner_url, "upgrade", "head", name=name).returncode != 0
        assert owner.rows("SELECT relname FROM pg_class WHERE relname = 'accounts'") == []
    owner.rows("DROP TABLE webhook_attempts")
    migrate(database.owner_url)


# The SQL that a reviewer reads --------------------------------------------------------------------------------------


def test_the_printed_sql_does_what_the_migrations_do(database, server):
    printed = migrate("", "upgrade", "head", "--sql").stdout
    done = run_sql(database.owner_url, printed)
    assert done.returncode == 0, done.stderr
    by_hand = schema(database.owner_url)
    migrate(database.owner_url, "downgrade", "base")
    migrate(database.owner_url)
    assert schema(database.owner_url) == by_hand


def test_the_printed_sql_comes_back_too(migrated, owner):
    done = run_sql(migrated.owner_url, migrate("", "downgrade", f"{HEAD}:base", "--sql").stdout)
    assert done.returncode == 0, done.stderr
    assert owner.rows("SELECT relname FROM pg_class WHERE relname = 'accounts'") == []


# Runs that meet -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MIGRATIONS_DATABASE_URL", "DATABASE_URL"])
def test_runs_that_meet_wait_for_one_another_and_all_succeed(database, owner, name):
    done = []
    runs = [
        threading.Thread(target=lambda: done.append(alembic(database.owner_url, "upgrade", "head", name=name)))
        for _ in range(3)
    ]
    waiting = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    owner.rows("SELECT pg_advisory_lock(7236541001)")
    for run in runs:
        run.start()
    wait_until(lambda: owner.one(waiting)["n"] == 3)
    assert owner.rows("SELECT relname FROM pg_class WHERE relname = 'accounts'") == []
    owner.rows("SELECT pg_advisory_unlock(7236541001)")
    for run in runs:
        run.join()
    assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
    assert owner.rows("SELECT version_num FROM alembic_version") == [{"version_num": HEAD}]


# Images that are older than the database ----------------------------------------------------------------------------


def test_an_older_image_leaves_a_newer_database_alone_and_says_so(migrated, owner):
    before = schema(migrated.owner_url)
    owner.rows("UPDATE alembic_version SET version_num = 'from-the-future' RETURNING 1")
    done = migrate(migrated.owner_url)
    assert "the database is at from-the-future, which this image does not know" in done.stderr
    assert "Traceback" not in done.stderr
    assert schema(migrated.owner_url) == before
    assert owner.rows("SELECT version_num FROM alembic_version") == [{"version_num": "from-the-future"}]


# What the functions' role may do ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(server):
    with new_database(server) as database:
        migrate(database.owner_url)
        conn = connect(database.app_url)
        yield conn
        conn.close()


def assert_denied(conn, statement):
    with pytest.raises(Exception, match="42501"):
        conn._raw.execute_simple(statement)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_what_is_append_only_cannot_be_changed_by_a_function(app, table):
    columns = app.rows("SELECT column_name AS name FROM information_schema.columns WHERE table_name = :t", t=table)
    assert_denied(app, f"DELETE FROM {table}")
    assert_denied(app, f"TRUNCATE {table}")
    for column in columns:
        assert_denied(app, f"UPDATE {table} SET {column['name']} = DEFAULT")


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_nothing_that_a_function_may_delete_takes_with_it_what_is_append_only(app, table):
    """A cascade runs as the owner of the tables."""
    above = app.rows(
        """
        WITH RECURSIVE above AS (
            SELECT :t::text::regclass::oid AS id
            UNION
            SELECT c.confrelid FROM pg_constraint c JOIN above ON c.conrelid = above.id WHERE c.confdeltype = 'c'
        )
        SELECT id::regclass::text AS name FROM above WHERE has_table_privilege('app', id, 'DELETE')
        """,
        t=table,
    )
    assert above == []


@pytest.mark.parametrize("table", ["accounts", "credit_accounts", "renders", "plugin_api_keys"])
def test_what_others_refer_to_cannot_be_deleted_by_a_function(app, table):
    assert_denied(app, f"DELETE FROM {table}")


@pytest.mark.parametrize(
    "statement",
    [
        *("CREATE TABLE mine (id integer)", "DROP TABLE renders", "ALTER TABLE renders ADD COLUMN mine text"),
        *("CREATE INDEX mine ON renders (seed)", "DROP INDEX renders_of_account", "CREATE SCHEMA mine"),
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE TRIGGER mine BEFORE INSERT ON renders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        *(
            "ALTER TABLE renders OWNER TO app",
            "CREATE ROLE mine",
            "ALTER ROLE app SUPERUSER",
        ),
        *("TRUNCATE renders", "DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('mine')"),
        *(
            "SET ROLE renderiq_owner",
            "COPY renders TO PROGRAM 'cat'",
            "CREATE EXTENSION pg_trgm",
            "DROP TABLE alembic_version",
        ),
    ],
)
def test_a_function_can_change_no_schema(app, statement):
    assert_denied(app, statement)


def test_a_function_may_read_every_table_and_owns_none(app):
    tables = app.rows("""
        SELECT relname, has_table_privilege('app', oid, 'SELECT') AS readable, pg_get_userbyid(relowner) AS owner
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    """)
    assert len(tables) > 10
    assert [row["relname"] for row in tables if not row["readable"] or row["owner"] == "app"] == []
