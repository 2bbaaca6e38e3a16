"""Recoveries: orders to attempt again what ended as `dead` or `skipped`, worked in batches.

What such an order means is fixed when it is made: deliveries that had ended by then. So none is put back twice by
one order, however often it is worked, and what dies again stays dead until somebody asks again.
"""

from datetime import datetime
from uuid import UUID

from common.db import Connection, Row


def count(
    conn: Connection, webhook_id: UUID, *, statuses: list[str], since: datetime, until: datetime | None, first: UUID
) -> int:
    """How many deliveries of a locked webhook an order would put back; `first` is the first id of `since`."""
    row = conn.one(
        """
        SELECT count(*) AS matched FROM webhook_deliveries
        WHERE webhook_id = :webhook_id::uuid AND status = ANY (:statuses::text[]) AND id >= :first::uuid
          AND created_at >= :since::timestamptz AND (:until::timestamptz IS NULL OR created_at < :until)
        """,
        webhook_id=webhook_id,
        statuses=statuses,
        since=since,
        until=until,
        first=first,
    )
    return int(row["matched"])


def insert(
    conn: Connection,
    account_id: UUID,
    webhook_id: UUID,
    *,
    statuses: list[str],
    since: datetime,
    until: datetime | None,
    matched: int,
    enqueued: int,
) -> Row:
    """A new order; one that has nothing to do is complete."""
    return conn.one(
        """
        INSERT INTO webhook_recoveries
            (account_id, webhook_id, statuses, since, until, matched, enqueued, created_at, completed_at)
        VALUES (:account_id::uuid, :webhook_id::uuid, :statuses::text[], :since::timestamptz,
                coalesce(:until::timestamptz, 'infinity'), :matched::bigint, :enqueued::bigint, clock_timestamp(),
                CASE WHEN :enqueued = 0 THEN now() END)
        RETURNING id, matched, enqueued
        """,
        account_id=account_id,
        webhook_id=webhook_id,
        statuses=statuses,
        since=since,
        until=until,
        matched=matched,
        enqueued=enqueued,
    )


def find(conn: Connection, account_id: UUID, recovery_id: UUID) -> Row | None:
    """An order as it was answered."""
    return conn.maybe(
        """
        SELECT id, matched, enqueued FROM webhook_recoveries
        WHERE id = :recovery_id::uuid AND account_id = :account_id::uuid
        """,
        account_id=account_id,
        recovery_id=recovery_id,
    )


def lock_open(conn: Connection, recovery_id: UUID | None) -> Row | None:
    """Lock the oldest order that is not complete and nobody works on, or the one given, for `work`."""
    return conn.maybe(
        """
        SELECT id, webhook_id, since FROM webhook_recoveries
        WHERE completed_at IS NULL AND (:recovery_id::uuid IS NULL OR id = :recovery_id)
        ORDER BY id LIMIT 1
        FOR UPDATE SKIP LOCKED
        """,
        recovery_id=recovery_id,
    )


def lock_webhook(conn: Connection, webhook_id: UUID) -> bool:
    """Lock the webhook of an order; whether it is active."""
    row = conn.maybe(
        """
        SELECT status = 'active' AND deleted_at IS NULL AS active FROM plugin_webhooks
        WHERE id = :webhook_id::uuid FOR NO KEY UPDATE
        """,
        webhook_id=webhook_id,
    )
    return bool(row and row["active"])


def work(conn: Connection, recovery_id: UUID, *, first: UUID, limit: int) -> list[Row]:
    """Put back at most `limit` of a locked order's deliveries, oldest first, with a new schedule; those put back."""
    return conn.rows(
        """
        WITH wanted AS (
            SELECT d.id, d.status
            FROM webhook_recoveries r JOIN webhook_deliveries d ON d.webhook_id = r.webhook_id
            WHERE r.id = :recovery_id::uuid AND d.status = ANY (r.statuses) AND d.id >= :first::uuid
              AND d.created_at >= r.since AND d.created_at < r.until AND d.completed_at <= r.created_at
            ORDER BY d.id LIMIT :limit::int
        ),
        counted AS (
            UPDATE plugin_webhooks w
            SET pending = w.pending + (SELECT count(*) FROM wanted),
                dead = w.dead - (SELECT count(*) FROM wanted WHERE status = 'dead')
            FROM webhook_recoveries r WHERE r.id = :recovery_id AND w.id = r.webhook_id
        )
        UPDATE webhook_deliveries d
        SET status = 'pending', trigger = 'recover', scheduled = 0, due_at = now(), completed_at = NULL,
            sweep_at = now() + interval '10 seconds', generation = d.generation + 1
        FROM wanted WHERE d.id = wanted.id
        RETURNING d.id, d.webhook_id, d.attempts, d.generation
        """,
        recovery_id=recovery_id,
        first=first,
        limit=limit,
    )


def complete(conn: Connection, recovery_id: UUID) -> None:
    """There is nothing left of an order to put back."""
    conn.rows(
        "UPDATE webhook_recoveries SET completed_at = now() WHERE id = :recovery_id::uuid RETURNING id",
        recovery_id=recovery_id,
    )
