"""Deliveries as their owner sees them: listed, shown, tried again by hand. Their work is in `delivery_task`."""

from typing import Any
from uuid import UUID

from common.auth.caller import Caller
from common.dal import deliveries as dal
from common.db import Connection
from common.domain import events, paging
from common.errors import Conflict, NotFound
from common.schemas.base import Page
from common.schemas.deliveries import Delivery, ListDeliveries, ShownDelivery

ATTEMPTS_SHOWN = 100


def list_page(conn: Connection, caller: Caller, query: ListDeliveries) -> Page[Delivery]:
    """The account's deliveries that pass the filters, newest first."""
    first, before = paging.id_range(query.cursor, query.since, query.until)
    rows = dal.list_page(
        conn,
        caller.account_id,
        webhook_id=query.webhook_id,
        status=query.status,
        event_type=query.event_type,
        error_class=query.error_class,
        since=query.since,
        until=query.until,
        first=first,
        before=before,
        limit=query.limit + 1,
    )
    items, next_cursor = paging.cut([Delivery.model_validate(row) for row in rows], query.limit)
    return Page[Delivery](items=items, next_cursor=next_cursor)


def get(conn: Connection, caller: Caller, delivery_id: UUID) -> ShownDelivery:
    """One delivery with its payload and the log of its attempts. NotFound."""
    row = dal.find(conn, caller.account_id, delivery_id, ATTEMPTS_SHOWN)
    if row is None:
        raise NotFound
    return ShownDelivery.model_validate(row | {"payload": _shown(row["payload"])})


def get_listed(conn: Connection, caller: Caller, delivery_id: UUID) -> Delivery:
    """One delivery as lists show it. NotFound."""
    row = dal.find(conn, caller.account_id, delivery_id, 0)
    if row is None:
        raise NotFound
    return Delivery.model_validate(row)


def retry(conn: Connection, caller: Caller, delivery_id: UUID) -> Delivery:
    """Attempt a delivery now, whatever became of it, in place of its scheduled attempt.

    Conflict `webhook_not_active`, or `delivery_in_flight` while it is being attempted.
    """
    row = dal.lock(conn, caller.account_id, delivery_id)
    if row is None:
        raise NotFound
    if not row["active"]:
        raise Conflict("Nothing is sent to this delivery's webhook: enable it first.", code="webhook_not_active")
    if row["in_flight"]:
        raise Conflict("This delivery is being attempted right now.", code="delivery_in_flight")
    row = dal.retry(conn, caller.account_id, delivery_id)
    events.enqueue_after_commit(conn, row)
    return Delivery.model_validate(row)


def _shown(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload without where its files are stored: who reads deliveries need not be allowed to read renders."""
    output = payload["data"].get("output")
    if not output:
        return payload
    files = [{name: value for name, value in file.items() if name != "object"} for file in output["files"]]
    return payload | {"data": payload["data"] | {"output": output | {"files": files}}}
