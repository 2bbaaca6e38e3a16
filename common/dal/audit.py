"""The audit log: who changed what, from where. Append-only: `app` can neither change nor delete it."""

import json
from typing import Any
from uuid import UUID

from common.db import Connection


def insert(
    conn: Connection,
    account_id: UUID,
    *,
    actor: str,
    actor_id: UUID | None,
    action: str,
    target_id: UUID | None,
    details: dict[str, Any],
    platform: str | None,
    address: str | None,
    request_id: str | None,
) -> None:
    """One event, in the transaction of what it tells."""
    conn.rows(
        """
        INSERT INTO audit_events (account_id, actor, actor_id, action, target_id, details, platform, address,
                                  request_id)
        VALUES (:account_id::uuid, :actor::text, :actor_id::uuid, :action::text, :target_id::uuid,
                :details::jsonb, :platform::text, :address::text, :request_id::text)
        RETURNING 1
        """,
        account_id=account_id,
        actor=actor,
        actor_id=actor_id,
        action=action,
        target_id=target_id,
        details=json.dumps(details),
        platform=platform,
        address=address,
        request_id=request_id,
    )
