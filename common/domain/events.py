"""Events: published in the transaction of what happened, delivered after it."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from common.clients import tasks
from common.clock import now
from common.dal import events as dal
from common.db import Connection, Row
from common.domain import render_views
from common.schemas.base import rfc3339
from common.schemas.events import EVENTS

#: Of a payload as it is stored. The largest a caller can cause has about 58 KiB: a test makes it.
MAX_PAYLOAD_BYTES = 64 << 10
ENQUEUERS = 8


def publish(conn: Connection, account_id: UUID, event_type: str, data: dict[str, Any]) -> list[Row]:
    """Tell every webhook of the account that asked for `event_type`; the deliveries made.

    One delivery row each, in the caller's transaction; the tasks after the commit. `data` holds no URLs: they
    are signed at sending. ValueError for a payload that its model does not allow, or a too large one: what is
    documented is what is sent.
    """
    return _publish(conn, account_id, event_type, data, None)


def publish_to(conn: Connection, account_id: UUID, webhook_id: UUID, event_type: str, data: dict[str, Any]) -> Row:
    """`publish`, to one webhook of the account, whatever it asked for."""
    (delivery,) = _publish(conn, account_id, event_type, data, webhook_id)
    return delivery


def enqueue(row: Row) -> None:
    """Have a pending delivery attempted, not before its time if it has one."""
    tasks.enqueue_delivery(
        row["id"],
        row["webhook_id"],
        row["attempts"],
        row["generation"],
        row.get("due_at"),
        row.get("reason", ""),
    )


def enqueue_after_commit(conn: Connection, row: Row) -> None:
    """`enqueue` once the transaction of `conn` is committed."""
    conn.after_commit(lambda: enqueue(row))


def enqueue_all_after_commit(conn: Connection, rows: Sequence[Row]) -> None:
    """`enqueue` of many, side by side: each is a call to Cloud Tasks."""

    def enqueue_all() -> None:
        with ThreadPoolExecutor(min(ENQUEUERS, len(rows))) as pool:
            list(pool.map(enqueue, rows))

    if rows:
        conn.after_commit(enqueue_all)


def _publish(
    conn: Connection, account_id: UUID, event_type: str, data: dict[str, Any], webhook_id: UUID | None
) -> list[Row]:
    payload = {"type": event_type, "timestamp": rfc3339(now()), "data": data}
    _check(event_type, payload)
    made = dal.publish(conn, account_id, event_type, payload, webhook_id=webhook_id)
    enqueue_all_after_commit(conn, [row for row in made if row["status"] == "pending"])
    return made


def _check(event_type: str, payload: dict[str, Any]) -> None:
    size = len(json.dumps(payload).encode())
    if size > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {event_type} has {size} bytes, more than {MAX_PAYLOAD_BYTES}")
    EVENTS[event_type].model_validate(payload | {"data": render_views.present_unsigned(payload["data"])})
