"""The sweep: mends what a crash left behind. Run each minute, and safe to run at any time, several at once.

Rows are their own outbox: whatever is due and has no live task is given a new generation, and a new task.
"""

from common import db, log
from common.dal import deliveries as deliveries_dal
from common.dal import idempotency
from common.domain import credits as account_credits
from common.domain import events, renders, uploads

BATCH = 200


def run() -> None:
    """One round, in short transactions."""
    done = {
        "renders": renders.sweep_due(BATCH),
        "expiredRenders": renders.expire_overdue(BATCH),
        "expiredUploads": uploads.expire_overdue(BATCH),
        "deliveries": _deliveries(BATCH),
        "forgottenKeys": _idempotency_keys(BATCH),
    }
    if any(done.values()):
        log.event("sweep", **done)
    account_credits.reconcile_daily()


def _deliveries(limit: int) -> int:
    with db.transaction() as conn:
        rows = deliveries_dal.claim_due(conn, limit)
        for row in rows:
            conn.after_commit(lambda row=row: events.enqueue(row))  # type: ignore[misc]  # binds this row
    return len(rows)


def _idempotency_keys(limit: int) -> int:
    with db.transaction() as conn:
        return idempotency.delete_old(conn, limit)
