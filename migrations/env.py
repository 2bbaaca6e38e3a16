"""Runs the migrations: one transaction each, one runner at a time.

`alembic upgrade head --sql` prints what would run, without a database.
"""

import os
from typing import Any

from alembic import context
from sqlalchemy import create_engine, pool, text

from common import config, db

#: Any number that no other advisory lock of this database uses.
MIGRATION_LOCK = 7_236_541_001


def connect() -> Any:
    """The owner's connection; the role owns what it makes."""
    if url := os.environ.get("MIGRATIONS_DATABASE_URL"):
        return db.connect_url(url)
    return db.open_raw(config.settings())


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
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
