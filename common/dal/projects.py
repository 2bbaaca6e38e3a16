"""Projects: folders that renders are put in."""

from uuid import UUID

from common.db import Connection, Row


def insert(conn: Connection, account_id: UUID, name: str, description: str | None) -> Row:
    """The new project. Conflict `name_taken` when the account has one of this name."""
    return conn.one(
        """
        INSERT INTO projects (account_id, name, description)
        VALUES (:account_id::uuid, :name::text, :description::text)
        RETURNING id, name, description, created_at, render_count
        """,
        account_id=account_id,
        name=name,
        description=description,
    )


def find(conn: Connection, account_id: UUID, project_id: UUID) -> Row | None:
    """The project, with the number of its renders."""
    return conn.maybe(
        """
        SELECT id, name, description, created_at, render_count
        FROM projects
        WHERE account_id = :account_id::uuid AND id = :project_id::uuid
        """,
        account_id=account_id,
        project_id=project_id,
    )


def list_page(conn: Connection, account_id: UUID, before: UUID, limit: int) -> list[Row]:
    """At most `limit` projects made before `before`, newest first."""
    return conn.rows(
        """
        SELECT id, name, description, created_at, render_count
        FROM projects
        WHERE account_id = :account_id::uuid AND id < :before::uuid
        ORDER BY id DESC
        LIMIT :limit::int
        """,
        account_id=account_id,
        before=before,
        limit=limit,
    )
