"""Webhooks."""

from uuid import UUID

from common.db import Connection, Row


def insert(
    conn: Connection, account_id: UUID, *, url: str, events: list[str], description: str | None, secret: bytes
) -> Row:
    """A new, active webhook. `secret` is encrypted."""
    return conn.one(
        """
        INSERT INTO plugin_webhooks (account_id, url, events, description, secret)
        VALUES (:account_id::uuid, :url::text, :events::text[], :description::text, :secret::bytea)
        RETURNING id, url, events, description, status, created_at
        """,
        account_id=account_id,
        url=url,
        events=events,
        description=description,
        secret=secret,
    )


def find(conn: Connection, account_id: UUID, webhook_id: UUID) -> Row | None:
    """A webhook with the counts of its deliveries."""
    rows = _list(conn, account_id, webhook_id, None, 1)
    return rows[0] if rows else None


def list_page(conn: Connection, account_id: UUID, before: UUID | None, limit: int) -> list[Row]:
    """Webhooks, newest first, with the counts of their deliveries."""
    return _list(conn, account_id, None, before, limit)


def _list(conn: Connection, account_id: UUID, webhook_id: UUID | None, before: UUID | None, limit: int) -> list[Row]:
    return conn.rows(
        """
        SELECT w.id, w.url, w.events, w.description, w.status, w.disabled_at, w.disabled_reason, w.created_at,
               w.succeeded, w.dead AS failed, w.last_delivery_at,
               (SELECT count(*) FROM webhook_deliveries WHERE webhook_id = w.id AND status = 'pending')
               + (SELECT count(*) FROM webhook_deliveries WHERE webhook_id = w.id AND status = 'delivering')
               AS pending
        FROM plugin_webhooks w
        WHERE w.account_id = :account_id::uuid AND w.deleted_at IS NULL
          AND (:webhook_id::uuid IS NULL OR w.id = :webhook_id) AND (:before::uuid IS NULL OR w.id < :before)
        ORDER BY w.id DESC LIMIT :limit::int
        """,
        account_id=account_id,
        webhook_id=webhook_id,
        before=before,
        limit=limit,
    )


def delete(conn: Connection, account_id: UUID, webhook_id: UUID) -> bool:
    """Delete a webhook and cancel what it still was to deliver; whether there was one."""
    row = conn.maybe(
        """
        WITH gone AS (
            UPDATE plugin_webhooks SET deleted_at = now()
            WHERE id = :webhook_id::uuid AND account_id = :account_id::uuid AND deleted_at IS NULL
            RETURNING id
        ),
        canceled AS (
            UPDATE webhook_deliveries d
            SET status = 'canceled', sweep_at = NULL, due_at = NULL, completed_at = now()
            FROM gone WHERE d.webhook_id = gone.id AND d.status = 'pending'
        )
        SELECT id FROM gone
        """,
        webhook_id=webhook_id,
        account_id=account_id,
    )
    return row is not None


def disable(conn: Connection, webhook_id: UUID, reason: str) -> None:
    """Stop a webhook that fails, and skip what it still was to deliver (it can be recovered)."""
    conn.rows(
        """
        WITH failing AS (
            UPDATE plugin_webhooks
            SET status = 'failing', disabled_at = now(), disabled_reason = :reason::text
            WHERE id = :webhook_id::uuid AND status = 'active'
            RETURNING id
        )
        UPDATE webhook_deliveries d
        SET status = 'skipped', sweep_at = NULL, due_at = NULL, completed_at = now()
        FROM failing WHERE d.webhook_id = failing.id AND d.status = 'pending'
        RETURNING d.id
        """,
        webhook_id=webhook_id,
        reason=reason,
    )
