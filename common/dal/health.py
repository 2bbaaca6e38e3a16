"""Whether the database answers."""

from common.db import Connection


def ping(conn: Connection) -> None:
    """One round trip."""
    conn.one("SELECT 1 AS answer")
