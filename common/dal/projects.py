"""Projects: folders that renders are put in."""

from uuid import UUID

from common.db import Connection, Row


def insert(conn: Connection, account_id: UUID, name: str, description: str | None) -> Row:
    """The new project. Conflict `name_taken` when the account has one of this name."""
    return conn.one(
        """
        INSERT INTO projects (account_id, name, description)
        VALUES (:account_id::uuid, :name::text, :description::text)
        RETURNING id, name, description, created_at, 0 AS render_count
        """,
        account_id=account_id,
        name=name,
        description=description,
    )


def find(conn: Connection, account_id: UUID, project_id: UUID) -> Row | None:
    """The project, with the number of its renders."""
    return conn.maybe(
        """
        SELECT p.id, p.name, p.description, p.created_at,
               (SELECT count(*) FROM renders r WHERE r.project_id = p.id) AS render_count
        FROM projects p
        WHERE p.account_id = :account_id::uuid AND p.id = :project_id::uuid
        """,
        account_id=account_id,
        project_id=project_id,
    )


def list_page(conn: Connection, account_id: UUID, before: UUID | None, limit: int) -> list[Row]:
    """At most `limit` projects made before `before`, newest first."""
    return conn.rows(
        """
        SELECT p.id, p.name, p.description, p.created_at,
               (SELECT count(*) FROM renders r WHERE r.project_id = p.id) AS render_count
        FROM projects p
        WHERE p.account_id = :account_id::uuid AND (:before::uuid IS NULL OR p.id < :before)
        ORDER BY p.id DESC
        LIMIT :limit::int
        """,
        account_id=account_id,
        before=before,
        limit=limit,
    )
