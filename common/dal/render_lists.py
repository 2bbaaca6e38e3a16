"""Pages of renders. Each reads about as many rows as it shows, however many there are.

Statuses and platforms that are not asked for are still looked up one by one: only an index with an equality on
everything before the id gives the newest first.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from common.db import Connection, Row


@dataclass(frozen=True, slots=True)
class Within:
    """Ids from `first`, without `end`, of renders created from `since`, before `until` (None: at any time)."""

    first: UUID
    end: UUID
    since: datetime | None
    until: datetime | None


def list_page(
    conn: Connection,
    account_id: UUID,
    within: Within,
    limit: int,
) -> list[Row]:
    """At most `limit` renders of the account, newest first."""
    return conn.rows(
        """
        SELECT id, account_id, project_id, status, stage, prompt, style, quality, geometry_fidelity, seed,
               engine, quoted, charged, files, error, metadata, created_at, started_at, completed_at
        FROM renders
        WHERE account_id = :account_id::uuid AND id >= :first::uuid AND id < :end::uuid
          AND (:since::timestamptz IS NULL OR created_at >= :since)
          AND (:until::timestamptz IS NULL OR created_at < :until)
        ORDER BY id DESC
        LIMIT :limit::int
        """,
        account_id=account_id,
        limit=limit,
        **asdict(within),
    )


def list_filtered(
    conn: Connection,
    account_id: UUID,
    statuses: Sequence[str],
    platforms: Sequence[str],
    within: Within,
    limit: int,
) -> list[Row]:
    """`list_page` of the renders that have one of these statuses and came from one of these platforms."""
    return conn.rows(
        """
        SELECT found.*
        FROM unnest(:statuses::text[]) AS s (status)
        CROSS JOIN unnest(:platforms::text[]) AS p (platform)
        CROSS JOIN LATERAL (
            SELECT id, account_id, project_id, status, stage, prompt, style, quality, geometry_fidelity, seed,
                   engine, quoted, charged, files, error, metadata, created_at, started_at, completed_at
            FROM renders r
            WHERE r.account_id = :account_id::uuid AND r.status = s.status
              AND r.metadata ->> 'sourcePlatform' = p.platform AND r.id >= :first::uuid AND r.id < :end::uuid
              AND (:since::timestamptz IS NULL OR r.created_at >= :since)
              AND (:until::timestamptz IS NULL OR r.created_at < :until)
            ORDER BY r.id DESC
            LIMIT :limit::int
        ) AS found
        ORDER BY found.id DESC
        LIMIT :limit
        """,
        account_id=account_id,
        statuses=list(statuses),
        platforms=list(platforms),
        limit=limit,
        **asdict(within),
    )


def list_of_project(
    conn: Connection,
    account_id: UUID,
    project_id: UUID,
    statuses: Sequence[str],
    platforms: Sequence[str],
    within: Within,
    limit: int,
) -> list[Row]:
    """`list_filtered` of one project, which need not be the account's: then there are none."""
    return conn.rows(
        """
        SELECT found.*
        FROM unnest(:statuses::text[]) AS s (status)
        CROSS JOIN unnest(:platforms::text[]) AS p (platform)
        CROSS JOIN LATERAL (
            SELECT id, account_id, project_id, status, stage, prompt, style, quality, geometry_fidelity, seed,
                   engine, quoted, charged, files, error, metadata, created_at, started_at, completed_at
            FROM renders r
            WHERE r.project_id = :project_id::uuid AND r.account_id = :account_id::uuid AND r.status = s.status
              AND r.metadata ->> 'sourcePlatform' = p.platform AND r.id >= :first::uuid AND r.id < :end::uuid
              AND (:since::timestamptz IS NULL OR r.created_at >= :since)
              AND (:until::timestamptz IS NULL OR r.created_at < :until)
            ORDER BY r.id DESC
            LIMIT :limit::int
        ) AS found
        ORDER BY found.id DESC
        LIMIT :limit
        """,
        account_id=account_id,
        project_id=project_id,
        statuses=list(statuses),
        platforms=list(platforms),
        limit=limit,
        **asdict(within),
    )
