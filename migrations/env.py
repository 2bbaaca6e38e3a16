"""Runs the migrations: one transaction each, one runner at a time.

`alembic upgrade head --sql` prints what would run, without a database. A database that is newer than this image is
left as it is: after a roll-back the older image's job must not fail.
"""

import os
import sys
from typing import Any

from alembic import context
from alembic.util import CommandError
from sqlalchemy import create_engine, pool, text

from common import config, db

#: Any number that no other advisory lock of this database uses.
MIGRATION_LOCK = 7_236_541_001
#: Who changes a table waits no longer than this for its users, for meanwhile all others wait behind.
LOCK_TIMEOUT = "10s"


def connect() -> Any:
    """The owner's connection; the role owns what it makes. A statement may take as long as it takes."""
    url = os.environ.get("MIGRATIONS_DATABASE_URL")
    raw = db.connect_url(url) if url else db.open_raw(config.settings())
    raw.execute_simple("SET statement_timeout = 0")
    raw.autocommit = False
    db.Connection(raw).set_timeout(None)
    return raw


def run_offline() -> None:
    """Print the SQL."""
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Two runs that meet wait for one another; the second finds nothing to do."""
    engine = create_engine("postgresql+pg8000://", creator=connect, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True)
        if unknown := _unknown_revisions():
            sys.stderr.write(
                f"the database is at {', '.join(unknown)}, which this image does not know: it is newer than the image."
                " Nothing is done.\n"
            )
            return
        with context.begin_transaction():
            context.run_migrations()


def _unknown_revisions() -> list[str]:
    return [revision for revision in context.get_context().get_current_heads() if not _known(revision)]


def _known(revision: str) -> bool:
    try:
        context.script.get_revision(revision)
    except CommandError:
        return False
    return True


if context.is_offline_mode():
    run_offline()
else:
    run_online()
