"""A render's work: its claim with a lease, and its one end. Each compares and sets status and attempt.

These serve our own tasks and the sweep, which have no caller: a render is named by its id alone.
"""

import json
from typing import Any
from uuid import UUID

from common.db import Connection, Row


def claim(conn: Connection, render_id: UUID, attempts: int) -> Row | None:
    """The render for its next attempt of `attempts`, leased for 30 s, with its uploads' objects.

    None when it is over, somebody else's lease is live, its attempts are spent or it waited too long.
    """
    return conn.maybe(
        """
        WITH claimed AS (
            UPDATE renders
            SET status = 'processing', stage = 'fetching', attempt = attempt + 1,
                started_at = coalesce(started_at, now()),
                lease_until = now() + interval '30 seconds', sweep_at = now() + interval '40 seconds'
            WHERE id = :render_id::uuid AND status IN ('queued', 'processing') AND attempt < :attempts::int
              AND (lease_until IS NULL OR lease_until <= now())
              AND (started_at IS NOT NULL OR created_at > now() - interval '1 hour')
            RETURNING id, account_id, attempt, generation, upload_id, depth_upload_id, normal_upload_id,
                      prompt, style, quality, geometry_fidelity, seed, engine
        )
        SELECT c.id, c.account_id, c.attempt, c.generation, c.prompt, c.style, c.quality, c.geometry_fidelity,
               c.seed, c.engine, s.object_name AS snapshot, s.generation AS snapshot_generation,
               d.object_name AS depth, d.generation AS depth_generation,
               n.object_name AS normal, n.generation AS normal_generation
        FROM claimed c
        JOIN uploads s ON s.id = c.upload_id
        LEFT JOIN uploads d ON d.id = c.depth_upload_id
        LEFT JOIN uploads n ON n.id = c.normal_upload_id
        """,
        render_id=render_id,
        attempts=attempts,
    )


def renew(conn: Connection, render_id: UUID, attempt: int, stage: str) -> bool:
    """Renew the lease of `attempt` and show its stage; False when the render is no longer ours."""
    row = conn.maybe(
        """
        UPDATE renders
        SET lease_until = now() + interval '30 seconds', sweep_at = now() + interval '40 seconds',
            stage = :stage::text
        WHERE id = :render_id::uuid AND status = 'processing' AND attempt = :attempt::int
        RETURNING 1
        """,
        render_id=render_id,
        attempt=attempt,
        stage=stage,
    )
    return row is not None


def reschedule(conn: Connection, render_id: UUID) -> Row | None:
    """A new generation for a task at the end of the live lease; None when no lease is live."""
    return conn.maybe(
        """
        UPDATE renders SET generation = generation + 1, sweep_at = lease_until + interval '10 seconds'
        WHERE id = :render_id::uuid AND status = 'processing' AND lease_until > now()
        RETURNING id, attempt, generation, lease_until AS due_at
        """,
        render_id=render_id,
    )


def put_back(conn: Connection, render_id: UUID, attempt: int, delay_s: int) -> Row | None:
    """Queue the render again after a failed attempt, for in `delay_s`; None when it is no longer ours."""
    return conn.maybe(
        """
        UPDATE renders
        SET status = 'queued', stage = 'queued', lease_until = now(), generation = generation + 1,
            sweep_at = now() + (:delay_s::int + 10) * interval '1 second'
        WHERE id = :render_id::uuid AND status = 'processing' AND attempt = :attempt::int
        RETURNING id, attempt, generation, now() + :delay_s * interval '1 second' AS due_at
        """,
        render_id=render_id,
        attempt=attempt,
        delay_s=delay_s,
    )


def lock_abandoned(conn: Connection, render_id: UUID, attempts: int) -> Row | None:
    """Lock the render if its `attempts` are spent and its last worker is gone, for `end`."""
    return conn.maybe(
        """
        SELECT id, account_id, attempt FROM renders
        WHERE id = :render_id::uuid AND status IN ('queued', 'processing') AND attempt >= :attempts::int
          AND (lease_until IS NULL OR lease_until <= now())
        FOR UPDATE
        """,
        render_id=render_id,
        attempts=attempts,
    )


def list_overdue(conn: Connection, limit: int) -> list[UUID]:
    """At most `limit` renders that were not started within an hour."""
    rows = conn.rows(
        """
        SELECT id FROM renders
        WHERE sweep_at IS NOT NULL AND status = 'queued' AND started_at IS NULL
          AND created_at <= now() - interval '1 hour'
        LIMIT :limit::int
        """,
        limit=limit,
    )
    return [row["id"] for row in rows]


def lock_overdue(conn: Connection, render_id: UUID) -> Row | None:
    """Lock the render if it was not started within an hour, for `end`."""
    return conn.maybe(
        """
        SELECT id, account_id, attempt FROM renders
        WHERE id = :render_id::uuid AND status = 'queued' AND started_at IS NULL
          AND created_at <= now() - interval '1 hour'
        FOR UPDATE
        """,
        render_id=render_id,
    )


def end(
    conn: Connection,
    *,
    render_id: UUID,
    account_id: UUID,
    attempt: int | None,
    status: str,
    files: list[dict[str, Any]] | None,
    error: dict[str, Any] | None,
) -> Row | None:
    """The ended render, its hold captured (`succeeded`) or released; None when it is over or claimed anew.

    Without an `attempt` it ends whoever works on it.
    """
    return conn.maybe(
        """
        WITH ended AS (
            UPDATE renders
            SET status = :status::text, stage = :status, completed_at = now(), lease_until = NULL,
                sweep_at = NULL, files = :files::jsonb, error = :error::jsonb,
                hold = CASE WHEN :status = 'succeeded' THEN 'captured' ELSE 'released' END,
                charged = CASE WHEN :status = 'succeeded' THEN quoted ELSE 0 END
            WHERE id = :render_id::uuid AND account_id = :account_id::uuid
              AND (:attempt::int IS NULL OR attempt = :attempt) AND status IN ('queued', 'processing')
              AND hold = 'held'
            RETURNING id, account_id, project_id, status, stage, prompt, style, quality, geometry_fidelity,
                      seed, engine, quoted, charged, files, error, metadata, attempt, generation, created_at,
                      started_at, completed_at
        ),
        settled AS (
            UPDATE credit_accounts c
            SET held = c.held - e.quoted, spent = c.spent + e.charged,
                available = c.available + e.quoted - e.charged, updated_at = now()
            FROM ended e WHERE c.account_id = e.account_id
            RETURNING c.available
        ),
        entry AS (
            INSERT INTO credit_entries (account_id, kind, amount, available_after, render_id)
            SELECT e.account_id, CASE WHEN e.status = 'succeeded' THEN 'capture' ELSE 'release' END, e.quoted,
                   s.available, e.id
            FROM ended e CROSS JOIN settled s
        )
        SELECT ended.*, 0 AS open FROM ended
        """,
        render_id=render_id,
        account_id=account_id,
        attempt=attempt,
        status=status,
        files=None if files is None else json.dumps(files),
        error=None if error is None else json.dumps(error),
    )


def sweep(conn: Connection, limit: int) -> list[Row]:
    """A new generation for each of at most `limit` renders that nobody looked after in time.

    Each is looked after again when it has been left twice as long, after 10 s at the least, after 5 minutes at the
    most; it is left since its last lease ended, or since it was made.
    """
    return conn.rows(
        """
        UPDATE renders
        SET generation = generation + 1,
            sweep_at = now() + least(greatest(now() - coalesce(lease_until, created_at), interval '10 seconds'),
                                     interval '5 minutes')
        WHERE id IN (
            SELECT id FROM renders WHERE sweep_at <= now()
            ORDER BY sweep_at LIMIT :limit::int FOR UPDATE SKIP LOCKED
        )
        RETURNING id, attempt, generation
        """,
        limit=limit,
    )
