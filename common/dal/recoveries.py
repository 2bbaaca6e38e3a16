"""Recoveries: orders to attempt again what ended as `dead` or `skipped`, worked in batches.

What such an order means is fixed when it is made: deliveries that had ended by then. So none is put back twice by
one order, however often it is worked, and what dies again stays dead until somebody asks again.
"""

from datetime import datetime
from uuid import UUID

from common.db import Connection, Row


def insert(
    conn: Connection,
    account_id: UUID,
    webhook_id: UUID,
    *,
    statuses: list[str],
    since: datetime,
    until: datetime | None,
    first: UUID,
    dry_run: bool,
    at_once: int,
) -> Row:
    """A new order for a locked webhook, with how many deliveries it matches; `first` is the first id of `since`.

    One of at most `at_once` deliveries, and a dry run, which puts back none, are complete.
    """
    return conn.one(
        """
        INSERT INTO webhook_recoveries
            (account_id, webhook_id, statuses, since, until, matched, enqueued, created_at, completed_at)
        SELECT :account_id::uuid, :webhook_id::uuid, :statuses::text[], :since::timestamptz,
               coalesce(:until::timestamptz, 'infinity'), count(*), CASE WHEN :dry_run::bool THEN 0 ELSE count(*) END,
               clock_timestamp(), CASE WHEN :dry_run OR count(*) <= :at_once::int THEN now() END
        FROM webhook_deliveries
        WHERE webhook_id = :webhook_id AND status = ANY (:statuses) AND id >= :first::uuid
          AND created_at >= :since AND (:until IS NULL OR created_at < :until)
        RETURNING id, webhook_id, matched, enqueued
        """,
        account_id=account_id,
        webhook_id=webhook_id,
        statuses=statuses,
        since=since,
        until=until,
        first=first,
        dry_run=dry_run,
        at_once=at_once,
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


def lock_open(conn: Connection) -> Row | None:
    """Lock an order that is not complete and nobody works on, for `work`: any, so that a large one holds up none."""
    return conn.maybe(
        """
        SELECT id, webhook_id, since FROM webhook_recoveries
        WHERE completed_at IS NULL
        ORDER BY random() LIMIT 1
        FOR UPDATE SKIP LOCKED
        """
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


def work(conn: Connection, recovery_id: UUID, *, first: UUID, limit: int, per_s: float) -> list[Row]:
    """Put back at most `limit` of an order's deliveries, of each status the oldest first; those put back.

    Its webhook is locked. Each begins a new schedule. They are due one after another, `per_s` a second behind what is
    pending already: so many at once would stand in their queue before other webhooks' deliveries.
    """
    return conn.rows(
        """
        WITH wanted AS (
            SELECT d.id, d.status,
                   now() + (w.pending + row_number() OVER ()) / :per_s::float * interval '1 second' AS due_at
            FROM webhook_recoveries r
            JOIN plugin_webhooks w ON w.id = r.webhook_id
            CROSS JOIN LATERAL (
                -- In the order of an index: a batch of a million costs what one of a thousand does.
                SELECT id, status FROM webhook_deliveries
                WHERE webhook_id = r.webhook_id AND status = ANY (r.statuses) AND id >= :first::uuid
                  AND created_at >= r.since AND created_at < r.until AND completed_at <= r.created_at
                ORDER BY status, id LIMIT :limit::int
            ) d
            WHERE r.id = :recovery_id::uuid
        ),
        counted AS (
            UPDATE plugin_webhooks w
            SET pending = w.pending + (SELECT count(*) FROM wanted),
                dead = w.dead - (SELECT count(*) FROM wanted WHERE status = 'dead')
            FROM webhook_recoveries r WHERE r.id = :recovery_id AND w.id = r.webhook_id
        )
        UPDATE webhook_deliveries d
        SET status = 'pending', trigger = 'recover', scheduled = 0, due_at = wanted.due_at, completed_at = NULL,
            sweep_at = wanted.due_at + interval '10 seconds', generation = d.generation + 1
        FROM wanted WHERE d.id = wanted.id
        RETURNING d.id, d.webhook_id, d.attempts, d.generation, d.due_at
        """,
        recovery_id=recovery_id,
        first=first,
        limit=limit,
        per_s=per_s,
    )


def complete(conn: Connection, recovery_id: UUID) -> None:
    """There is nothing left of an order to put back."""
    conn.rows(
        "UPDATE webhook_recoveries SET completed_at = now() WHERE id = :recovery_id::uuid RETURNING id",
        recovery_id=recovery_id,
    )
