"""Events: a delivery for each webhook that asked for one."""

import json
from typing import Any
from uuid import UUID

from common.db import Connection, Row


def publish(
    conn: Connection, account_id: UUID, event_type: str, payload: dict[str, Any], *, webhook_id: UUID | None = None
) -> list[Row]:
    """One delivery of an event for each webhook that asked for it, or for `webhook_id` alone.

    A webhook that is not active gets a `skipped` one, which can be recovered.
    """
    return conn.rows(
        """
        WITH event AS MATERIALIZED (SELECT uuidv7() AS id),
        listening AS MATERIALIZED (
            SELECT w.id, w.account_id, w.status = 'active' AS active
            FROM plugin_webhooks w
            WHERE w.account_id = :account_id::uuid AND w.deleted_at IS NULL
              AND CASE WHEN :webhook_id::uuid IS NULL THEN :event_type::text = ANY (w.events)
                       ELSE w.id = :webhook_id END
            ORDER BY w.id FOR NO KEY UPDATE
        ),
        made AS (
            INSERT INTO webhook_deliveries
                (account_id, webhook_id, event_id, event_type, payload, status, due_at, sweep_at, completed_at)
            SELECT l.account_id, l.id, event.id, :event_type, :payload::jsonb,
                   CASE WHEN l.active THEN 'pending' ELSE 'skipped' END,
                   CASE WHEN l.active THEN now() END,
                   CASE WHEN l.active THEN now() + interval '10 seconds' END,
                   CASE WHEN NOT l.active THEN now() END
            FROM listening l CROSS JOIN event
            RETURNING id, webhook_id, attempts, generation, status
        ),
        counted AS (
            UPDATE plugin_webhooks w SET pending = w.pending + 1
            FROM made WHERE w.id = made.webhook_id AND made.status = 'pending'
        )
        SELECT id, webhook_id, attempts, generation, status FROM made
        """,
        account_id=account_id,
        event_type=event_type,
        payload=json.dumps(payload),
        webhook_id=webhook_id,
    )
