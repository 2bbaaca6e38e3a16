"""Renders: made with their hold of credits, and shown. Listed by `dal.render_lists`, worked on by `dal.render_work`."""

import json
from typing import Any
from uuid import UUID

from common.db import Connection, Row


def check(
    conn: Connection,
    account_id: UUID,
    *,
    upload_id: UUID,
    depth_upload_id: UUID | None,
    normal_upload_id: UUID | None,
    project_id: UUID | None,
    callback_url: str | None,
) -> Row:
    """Whether each thing a new render refers to is the account's and usable (true where none is named)."""
    return conn.one(
        """
        SELECT EXISTS (SELECT FROM uploads WHERE account_id = :account_id::uuid AND id = :upload_id::uuid
                       AND purpose = 'snapshot' AND status = 'ready') AS upload_id,
               :depth_upload_id::uuid IS NULL
               OR EXISTS (SELECT FROM uploads WHERE account_id = :account_id AND id = :depth_upload_id
                          AND purpose = 'depth' AND status = 'ready') AS depth_upload_id,
               :normal_upload_id::uuid IS NULL
               OR EXISTS (SELECT FROM uploads WHERE account_id = :account_id AND id = :normal_upload_id
                          AND purpose = 'normal' AND status = 'ready') AS normal_upload_id,
               :project_id::uuid IS NULL
               OR EXISTS (SELECT FROM projects
                          WHERE account_id = :account_id AND id = :project_id) AS project_id,
               :callback_url::text IS NULL
               OR EXISTS (SELECT FROM plugin_webhooks WHERE account_id = :account_id AND url = :callback_url
                          AND status = 'active' AND deleted_at IS NULL) AS callback_url
        """,
        account_id=account_id,
        upload_id=upload_id,
        depth_upload_id=depth_upload_id,
        normal_upload_id=normal_upload_id,
        project_id=project_id,
        callback_url=callback_url,
    )


def insert_held(
    conn: Connection,
    *,
    account_id: UUID,
    key_id: UUID | None,
    project_id: UUID | None,
    upload_id: UUID,
    depth_upload_id: UUID | None,
    normal_upload_id: UUID | None,
    prompt: str,
    style: str | None,
    quality: str,
    geometry_fidelity: int | None,
    seed: int,
    engine: dict[str, Any],
    quoted: int,
    metadata: dict[str, Any],
) -> Row | None:
    """The new render, `quoted` credits held for it and its project's count raised.

    None, and nothing done, when there are too few credits.
    """
    return conn.maybe(
        """
        WITH made AS (SELECT uuidv7() AS id),
        held AS (
            UPDATE credit_accounts
            SET available = available - :quoted::bigint, held = held + :quoted, updated_at = now()
            WHERE account_id = :account_id::uuid AND available >= :quoted
            RETURNING available
        ),
        entry AS (
            INSERT INTO credit_entries (account_id, kind, amount, available_after, render_id)
            SELECT :account_id, 'hold', :quoted, held.available, made.id FROM held CROSS JOIN made
        ),
        counted AS (
            UPDATE projects p SET render_count = p.render_count + 1
            FROM held WHERE p.account_id = :account_id AND p.id = :project_id::uuid
        )
        INSERT INTO renders (id, account_id, key_id, project_id, upload_id, depth_upload_id, normal_upload_id,
                             prompt, style, quality, geometry_fidelity, seed, engine, quoted, metadata,
                             sweep_at)
        SELECT made.id, :account_id, :key_id::uuid, :project_id, :upload_id::uuid,
               :depth_upload_id::uuid, :normal_upload_id::uuid, :prompt::text, :style::text, :quality::text,
               :geometry_fidelity::smallint, :seed::bigint, :engine::jsonb, :quoted, :metadata::jsonb,
               now() + interval '10 seconds'
        FROM held CROSS JOIN made
        RETURNING id, account_id, project_id, status, stage, prompt, style, quality, geometry_fidelity, seed,
                  engine, quoted, charged, files, error, metadata, attempt, generation, created_at,
                  started_at, completed_at,
                  1 + (SELECT count(*) FROM renders o
                       WHERE o.account_id = :account_id AND o.status IN ('queued', 'processing')) AS open
        """,
        account_id=account_id,
        key_id=key_id,
        project_id=project_id,
        upload_id=upload_id,
        depth_upload_id=depth_upload_id,
        normal_upload_id=normal_upload_id,
        prompt=prompt,
        style=style,
        quality=quality,
        geometry_fidelity=geometry_fidelity,
        seed=seed,
        engine=json.dumps(engine),
        quoted=quoted,
        metadata=json.dumps(metadata),
    )


def find(conn: Connection, account_id: UUID, render_id: UUID) -> Row | None:
    """The render; `open` is how many renders of the account are not over (0 when this one is)."""
    return conn.maybe(
        """
        SELECT r.id, r.account_id, r.project_id, r.status, r.stage, r.prompt, r.style, r.quality,
               r.geometry_fidelity, r.seed, r.engine, r.quoted, r.charged, r.files, r.error, r.metadata,
               r.attempt, r.generation, r.created_at, r.started_at, r.completed_at,
               CASE WHEN r.status IN ('queued', 'processing')
                    THEN (SELECT count(*) FROM renders o
                          WHERE o.account_id = :account_id AND o.status IN ('queued', 'processing'))
                    ELSE 0 END AS open
        FROM renders r
        WHERE r.account_id = :account_id::uuid AND r.id = :render_id::uuid
        """,
        account_id=account_id,
        render_id=render_id,
    )
