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
    return conn.maybe(
        """
        SELECT id, url, events, description, status, disabled_at, disabled_reason, created_at,
               succeeded, dead AS failed, pending, last_delivery_at
        FROM plugin_webhooks
        WHERE id = :webhook_id::uuid AND account_id = :account_id::uuid AND deleted_at IS NULL
        """,
        webhook_id=webhook_id,
        account_id=account_id,
    )


def list_page(conn: Connection, account_id: UUID, before: UUID, limit: int) -> list[Row]:
    """Webhooks made before `before`, newest first, with the counts of their deliveries."""
    return conn.rows(
        """
        SELECT id, url, events, description, status, disabled_at, disabled_reason, created_at,
               succeeded, dead AS failed, pending, last_delivery_at
        FROM plugin_webhooks
        WHERE account_id = :account_id::uuid AND deleted_at IS NULL AND id < :before::uuid
        ORDER BY id DESC LIMIT :limit::int
        """,
        account_id=account_id,
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


def rotate_secret(conn: Connection, webhook_id: UUID, sealed: bytes, overlap_s: int, keep: int) -> Row:
    """A new current secret of a locked webhook; `valid_until`, when the older ones end, or earlier if they did before.

    Only the newest `keep` older ones stay.
    """
    return conn.one(
        """
        WITH kept AS (
            SELECT id FROM plugin_webhook_secrets
            WHERE webhook_id = :webhook_id::uuid AND (valid_until IS NULL OR valid_until > now())
            ORDER BY id DESC LIMIT :keep::int
        ),
        gone AS (
            DELETE FROM plugin_webhook_secrets
            WHERE webhook_id = :webhook_id AND id NOT IN (SELECT id FROM kept)
        ),
        retired AS (
            UPDATE plugin_webhook_secrets
            SET valid_until = least(valid_until, now() + :overlap_s::int * interval '1 second')
            WHERE id IN (SELECT id FROM kept)
            RETURNING id
        )
        -- After the one that was current is so no longer: there is one at a time.
        INSERT INTO plugin_webhook_secrets (webhook_id, sealed)
        SELECT :webhook_id, :sealed::bytea WHERE (SELECT count(*) FROM retired) > 0
        RETURNING now() + :overlap_s * interval '1 second' AS valid_until
        """,
        webhook_id=webhook_id,
        sealed=sealed,
        overlap_s=overlap_s,
        keep=keep,
    )
