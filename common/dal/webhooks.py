"""Webhooks."""

from typing import Any
from uuid import UUID

from common.db import Connection, Row


def insert(
    conn: Connection, account_id: UUID, *, url: str, events: list[str], description: str | None, sealed: bytes
) -> Row:
    """A new, active webhook with its first secret, encrypted."""
    return conn.one(
        """
        WITH webhook AS (
            INSERT INTO plugin_webhooks (account_id, url, events, description)
            VALUES (:account_id::uuid, :url::text, :events::text[], :description::text)
            RETURNING id, url, events, description, status, created_at
        ),
        secret AS (INSERT INTO plugin_webhook_secrets (webhook_id, sealed) SELECT id, :sealed::bytea FROM webhook)
        SELECT id, url, events, description, status, created_at FROM webhook
        """,
        account_id=account_id,
        url=url,
        events=events,
        description=description,
        sealed=sealed,
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
        SELECT id, url, events, description, status, disabled_at, disabled_reason, created_at,
               succeeded, dead AS failed, pending, last_delivery_at
        FROM plugin_webhooks
        WHERE account_id = :account_id::uuid AND deleted_at IS NULL
          AND (:webhook_id::uuid IS NULL OR id = :webhook_id) AND (:before::uuid IS NULL OR id < :before)
        ORDER BY id DESC LIMIT :limit::int
        """,
        account_id=account_id,
        webhook_id=webhook_id,
        before=before,
        limit=limit,
    )


def lock(conn: Connection, account_id: UUID, webhook_id: UUID) -> Row | None:
    """A webhook, locked: nothing about its deliveries' states changes until the transaction ends."""
    return conn.maybe(
        """
        SELECT id, status FROM plugin_webhooks
        WHERE id = :webhook_id::uuid AND account_id = :account_id::uuid AND deleted_at IS NULL
        FOR NO KEY UPDATE
        """,
        webhook_id=webhook_id,
        account_id=account_id,
    )


def update(conn: Connection, account_id: UUID, webhook_id: UUID, changes: dict[str, Any]) -> None:
    """Set what `changes` names: `url`, `events`, `description` (which may be None)."""
    conn.rows(
        """
        UPDATE plugin_webhooks
        SET url = coalesce(:url::text, url), events = coalesce(:events::text[], events),
            description = CASE WHEN :describes::bool THEN :description::text ELSE description END
        WHERE id = :webhook_id::uuid AND account_id = :account_id::uuid
        RETURNING id
        """,
        account_id=account_id,
        webhook_id=webhook_id,
        url=changes.get("url"),
        events=changes.get("events"),
        describes="description" in changes,
        description=changes.get("description"),
    )


def enable(conn: Connection, account_id: UUID, webhook_id: UUID) -> None:
    """Make a webhook that was not active so, its failures forgotten."""
    conn.rows(
        """
        UPDATE plugin_webhooks
        SET status = 'active', disabled_at = NULL, disabled_reason = NULL, failing_since = NULL,
            failures_in_row = 0, last_error = NULL, ending = false
        WHERE id = :webhook_id::uuid AND account_id = :account_id::uuid AND status <> 'active'
        RETURNING id
        """,
        account_id=account_id,
        webhook_id=webhook_id,
    )


def disable(conn: Connection, webhook_id: UUID, status: str, reason: str) -> None:
    """Stop sending to a webhook: it is `disabled` or `failing`, since it first was either."""
    conn.rows(
        """
        UPDATE plugin_webhooks
        SET status = :status::text, disabled_at = coalesce(disabled_at, now()), disabled_reason = :reason::text
        WHERE id = :webhook_id::uuid AND status <> :status
        RETURNING id
        """,
        webhook_id=webhook_id,
        status=status,
        reason=reason,
    )


def delete(conn: Connection, account_id: UUID, webhook_id: UUID) -> None:
    """Delete a webhook."""
    conn.rows(
        """
        UPDATE plugin_webhooks SET deleted_at = now()
        WHERE id = :webhook_id::uuid AND account_id = :account_id::uuid
        RETURNING id
        """,
        webhook_id=webhook_id,
        account_id=account_id,
    )


def end_pending(conn: Connection, webhook_id: UUID, status: str, limit: int) -> int:
    """End at most `limit` pending deliveries of a locked webhook as `skipped` or `canceled`; how many.

    When there may be more, the webhook is `ending` until the sweep has ended them, too.
    """
    row = conn.one(
        """
        WITH ended AS (
            UPDATE webhook_deliveries d
            SET status = :status::text, sweep_at = NULL, due_at = NULL, completed_at = now()
            -- An array: joined, a planner that has not seen the table grow compares each with each.
            WHERE d.status = 'pending'
              AND d.id = ANY (ARRAY (SELECT id FROM webhook_deliveries
                                     WHERE webhook_id = :webhook_id::uuid AND status = 'pending' LIMIT :limit::int))
            RETURNING d.id
        )
        UPDATE plugin_webhooks w
        SET pending = w.pending - (SELECT count(*) FROM ended), ending = (SELECT count(*) FROM ended) = :limit
        WHERE w.id = :webhook_id
        RETURNING (SELECT count(*) FROM ended) AS ended
        """,
        webhook_id=webhook_id,
        status=status,
        limit=limit,
    )
    return int(row["ended"])


def lock_ending(conn: Connection) -> Row | None:
    """Lock a webhook that is not active and has pending deliveries left, and tell how they end."""
    return conn.maybe(
        """
        SELECT id, CASE WHEN deleted_at IS NULL THEN 'skipped' ELSE 'canceled' END AS ends_as
        FROM plugin_webhooks WHERE ending
        LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        """
    )


def retire_secrets(conn: Connection, webhook_id: UUID, overlap_s: int) -> Row:
    """End every secret of a locked webhook in `overlap_s` seconds, those that end earlier then; `valid_until`."""
    return conn.one(
        """
        WITH retired AS (
            UPDATE plugin_webhook_secrets
            SET valid_until = least(valid_until, now() + :overlap_s::int * interval '1 second')
            WHERE webhook_id = :webhook_id::uuid AND (valid_until IS NULL OR valid_until > now())
        )
        SELECT now() + :overlap_s * interval '1 second' AS valid_until
        """,
        webhook_id=webhook_id,
        overlap_s=overlap_s,
    )


def insert_secret(conn: Connection, webhook_id: UUID, sealed: bytes, keep: int) -> None:
    """The webhook's new current secret; beside it only the newest `keep` stay that have not ended."""
    conn.rows(
        """
        WITH gone AS (
            DELETE FROM plugin_webhook_secrets
            WHERE webhook_id = :webhook_id::uuid
              AND id NOT IN (SELECT id FROM plugin_webhook_secrets
                             WHERE webhook_id = :webhook_id AND valid_until > now() ORDER BY id DESC LIMIT :keep::int)
        )
        INSERT INTO plugin_webhook_secrets (webhook_id, sealed) VALUES (:webhook_id, :sealed::bytea)
        RETURNING id
        """,
        webhook_id=webhook_id,
        sealed=sealed,
        keep=keep,
    )
