"""Recoveries: what ended as dead or skipped is attempted again, however many there are.

The first few go at once, the rest in batches by the sweep; the deliveries tell how far it is.
"""

from uuid import UUID

from common import db
from common.auth.caller import Caller
from common.dal import recoveries as dal
from common.db import Connection
from common.domain import events, paging, webhooks
from common.errors import Invalid, NotFound
from common.schemas.webhooks import RecoverWebhook, Recovery

#: Each is a call to Cloud Tasks that the caller waits for.
AT_ONCE = 50
#: How many of one webhook are due in a second.
PER_S = 100.0


def create(conn: Connection, caller: Caller, webhook_id: UUID, body: RecoverWebhook) -> Recovery:
    """Recover a webhook's deliveries. Conflict `webhook_not_active`, but for a dry run. Again does nothing twice."""
    if body.until and body.until <= body.since:
        raise Invalid("The time has no length.", errors=[{"field": "until", "message": "is not after since"}])
    webhook = webhooks.lock(conn, caller, webhook_id)
    if not body.dry_run:
        webhooks.require_active(webhook)
    first = paging.first_id(body.since)
    made = dal.insert(
        conn,
        caller.account_id,
        webhook_id,
        statuses=sorted(set(body.statuses)),
        since=body.since,
        until=body.until,
        first=first,
        dry_run=body.dry_run,
        at_once=AT_ONCE,
    )
    if made["enqueued"]:
        events.enqueue_all_after_commit(conn, dal.work(conn, made["id"], first=first, limit=AT_ONCE, per_s=PER_S))
    return Recovery.model_validate(made)


def get(conn: Connection, caller: Caller, recovery_id: UUID) -> Recovery:
    """A recovery as it was answered. NotFound."""
    row = dal.find(conn, caller.account_id, recovery_id)
    if row is None:
        raise NotFound
    return Recovery.model_validate(row)


def sweep(limit: int) -> int:
    """Put back at most `limit` deliveries of a recovery that is not complete; how many.

    A webhook that is not active any more ends its recoveries: what is left stays as it is.
    """
    with db.transaction() as conn:
        order = dal.lock_open(conn)
        if order is None:
            return 0
        done = []
        if dal.lock_webhook(conn, order["webhook_id"]):
            done = dal.work(conn, order["id"], first=paging.first_id(order["since"]), limit=limit, per_s=PER_S)
        if len(done) < limit:
            dal.complete(conn, order["id"])
        events.enqueue_all_after_commit(conn, done)
    return len(done)
