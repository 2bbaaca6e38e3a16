"""Deliveries as their owner sees them: listed, shown with the log of their attempts, tried again."""

from datetime import datetime
from uuid import UUID

from common.db import Connection, Row


def list_page(
    conn: Connection,
    account_id: UUID,
    *,
    webhook_id: UUID | None,
    status: str | None,
    event_type: str | None,
    error_class: str | None,
    since: datetime | None,
    until: datetime | None,
    first: UUID,
    before: UUID,
    limit: int,
) -> list[Row]:
    """At most `limit` deliveries from `first` up and before `before`, newest first.

    The ids' bounds say no more than `since`, `until` and the cursor: they are what an index can be entered by.
    """
    return conn.rows(
        """
        SELECT id, webhook_id, event_id, event_type, status, attempts, due_at AS next_attempt_at, last_status_code,
               last_error_class, created_at, completed_at
        FROM webhook_deliveries
        WHERE account_id = :account_id::uuid
          AND id >= :first::uuid AND id < :before::uuid
          AND (:webhook_id::uuid IS NULL OR webhook_id = :webhook_id)
          AND (:status::text IS NULL OR status = :status)
          AND (:event_type::text IS NULL OR event_type = :event_type)
          AND (:error_class::text IS NULL OR last_error_class = :error_class)
          AND (:since::timestamptz IS NULL OR created_at >= :since)
          AND (:until::timestamptz IS NULL OR created_at < :until)
        ORDER BY id DESC
        LIMIT :limit::int
        """,
        account_id=account_id,
        webhook_id=webhook_id,
        status=status,
        event_type=event_type,
        error_class=error_class,
        since=since,
        until=until,
        first=first,
        before=before,
        limit=limit,
    )


def find(conn: Connection, account_id: UUID, delivery_id: UUID, attempts: int) -> Row | None:
    """A delivery with its payload and its newest `attempts` attempts, oldest first."""
    return conn.maybe(
        """
        SELECT d.id, d.webhook_id, d.event_id, d.event_type, d.status, d.attempts, d.due_at AS next_attempt_at,
               d.last_status_code, d.last_error_class, d.created_at, d.completed_at, d.payload,
               (SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY a.number), '[]')
                FROM (SELECT number, trigger, started_at, duration_ms, timings, remote_address, status_code AS answer,
                             error_class, error, request_headers, response_headers, response_body
                      FROM webhook_attempts WHERE delivery_id = d.id
                      ORDER BY number DESC LIMIT :attempts::int) a) AS attempt_log
        FROM webhook_deliveries d
        WHERE d.id = :delivery_id::uuid AND d.account_id = :account_id::uuid
        """,
        account_id=account_id,
        delivery_id=delivery_id,
        attempts=attempts,
    )


def lock(conn: Connection, account_id: UUID, delivery_id: UUID) -> Row | None:
    """A delivery's webhook, locked, then the delivery: whether each is ready for an attempt by hand."""
    return conn.maybe(
        """
        WITH webhook AS MATERIALIZED (
            SELECT w.id, w.status = 'active' AND w.deleted_at IS NULL AS active
            FROM plugin_webhooks w
            WHERE w.id = (SELECT webhook_id FROM webhook_deliveries
                          WHERE id = :delivery_id::uuid AND account_id = :account_id::uuid)
            FOR NO KEY UPDATE
        )
        SELECT d.id, w.active, d.status = 'delivering' AND d.lease_until > clock_timestamp() AS in_flight
        FROM webhook w JOIN webhook_deliveries d ON d.webhook_id = w.id
        WHERE d.id = :delivery_id
        FOR NO KEY UPDATE OF d
        """,
        account_id=account_id,
        delivery_id=delivery_id,
    )


def retry(conn: Connection, account_id: UUID, delivery_id: UUID) -> Row:
    """Make a locked delivery pending, due now, by hand; its schedule stays where it is."""
    return conn.one(
        """
        WITH old AS (
            SELECT id, webhook_id, status FROM webhook_deliveries
            WHERE id = :delivery_id::uuid AND account_id = :account_id::uuid
        ),
        counted AS (
            UPDATE plugin_webhooks w
            SET pending = w.pending + (old.status NOT IN ('pending', 'delivering'))::int,
                succeeded = w.succeeded - (old.status = 'succeeded')::int,
                dead = w.dead - (old.status = 'dead')::int
            FROM old WHERE w.id = old.webhook_id
        )
        UPDATE webhook_deliveries d
        SET status = 'pending', trigger = 'manual', due_at = now(), sweep_at = now() + interval '10 seconds',
            lease_until = NULL, completed_at = NULL, generation = d.generation + 1
        FROM old WHERE d.id = old.id
        RETURNING d.id, d.webhook_id, d.event_id, d.event_type, d.status, d.attempts, d.generation,
                  d.due_at AS next_attempt_at, d.last_status_code, d.last_error_class, d.created_at, d.completed_at
        """,
        account_id=account_id,
        delivery_id=delivery_id,
    )
