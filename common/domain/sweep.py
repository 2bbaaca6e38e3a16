"""The sweep: mends what a crash left behind. Run each minute, and safe to run at any time, several at once.

Rows are their own outbox: whatever is due and has no live task is given a new generation, and a new task.
"""

import time
from collections.abc import Callable

from common import db, log
from common.dal import callers, delivery_work, idempotency, sessions
from common.domain import credits as account_credits
from common.domain import events, recoveries, renders, uploads, webhooks

BATCH = 200
#: How long a round goes on, batch by batch; the rest waits for the next one.
WORK_S = 20.0


def run() -> None:
    """One round, in short transactions."""
    end = time.monotonic() + WORK_S
    done = {
        "renders": renders.sweep_due(BATCH),
        "expiredRenders": renders.expire_overdue(BATCH),
        "expiredUploads": uploads.expire_overdue(BATCH),
        "forgottenKeys": _idempotency_keys(BATCH),
        "forgottenSessions": _batches(_sessions, end),
        "forgottenAttempts": db.pool().run(callers.forget_attempts),
        "deliveries": _batches(_deliveries, end),
        "endedDeliveries": _batches(webhooks.sweep_ending, end),
        "recoveredDeliveries": _batches(recoveries.sweep, end),
    }
    if any(done.values()):
        log.event("sweep", **done)
    account_credits.reconcile_daily()


def _batches(work: Callable[[int], int], end: float) -> int:
    """`work` until there is nothing left of it or the time is over; how much was done."""
    total = 0
    while time.monotonic() < end:
        done = work(BATCH)
        total += done
        if not done:
            break
    return total


def _deliveries(limit: int) -> int:
    with db.transaction() as conn:
        rows = delivery_work.claim_due(conn, limit)
        events.enqueue_all_after_commit(conn, rows)
    return len(rows)


def _sessions(limit: int) -> int:
    return db.pool().run(lambda conn: sessions.forget(conn, limit))


def _idempotency_keys(limit: int) -> int:
    with db.transaction() as conn:
        return idempotency.delete_old(conn, limit)
