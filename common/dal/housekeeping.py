"""What is done once a day, by whichever sweep comes first."""

from common.db import Connection


def claim_day(conn: Connection, name: str) -> bool:
    """Whether `name` was not done yet since midnight, UTC; then it counts as done."""
    row = conn.maybe(
        """
        INSERT INTO housekeeping AS h (name) VALUES (:name::text)
        ON CONFLICT (name) DO UPDATE SET done_at = now()
        WHERE h.done_at < date_trunc('day', now(), 'UTC')
        RETURNING 1
        """,
        name=name,
    )
    return row is not None
