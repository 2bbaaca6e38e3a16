"""Events: published in the transaction of what happened, delivered after it."""

from typing import Any
from uuid import UUID

from common.clients import tasks
from common.clock import now
from common.dal import deliveries as dal
from common.db import Connection, Row
from common.schemas.base import rfc3339


def publish(conn: Connection, account_id: UUID, event_type: str, data: dict[str, Any]) -> None:
    """Tell every webhook of the account that asked for `event_type`.

    One delivery row each, in the caller's transaction; the tasks after the commit. `data` holds no URLs: they
    are signed at sending.
    """
    payload = {"type": event_type, "timestamp": rfc3339(now()), "data": data}
    for row in dal.publish(conn, account_id, event_type, payload):
        conn.after_commit(lambda row=row: enqueue(row))  # type: ignore[misc]  # binds this row, not the last


def enqueue(row: Row) -> None:
    """Have a pending delivery attempted, not before its time if it has one."""
    tasks.enqueue_delivery(row["id"], row["webhook_id"], row["attempts"], row["generation"], row.get("due_at"))
