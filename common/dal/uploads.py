"""Uploads: files that wait for their bytes, and those that have them."""

from uuid import UUID

from common.db import Connection, Row


def insert(
    conn: Connection,
    *,
    account_id: UUID,
    purpose: str,
    file_name: str,
    content_type: str,
    size_bytes: int,
    md5: str | None,
    object_name: str,
) -> Row:
    """The new upload, pending for a day."""
    return conn.one(
        """
        INSERT INTO uploads (account_id, purpose, file_name, content_type, size_bytes, md5, object_name,
                             expires_at)
        VALUES (:account_id::uuid, :purpose::text, :file_name::text, :content_type::text, :size_bytes::bigint,
                :md5::text, :object_name::text, now() + interval '1 day')
        RETURNING id, status, purpose, file_name, content_type, size_bytes, md5, object_name, width, height,
                  created_at, expires_at
        """,
        account_id=account_id,
        purpose=purpose,
        file_name=file_name,
        content_type=content_type,
        size_bytes=size_bytes,
        md5=md5,
        object_name=object_name,
    )


def find(conn: Connection, account_id: UUID, upload_id: UUID) -> Row | None:
    """The upload."""
    return conn.maybe(
        """
        SELECT id, status, purpose, file_name, content_type, size_bytes, md5, object_name, width, height,
               created_at, expires_at
        FROM uploads
        WHERE account_id = :account_id::uuid AND id = :upload_id::uuid
        """,
        account_id=account_id,
        upload_id=upload_id,
    )


def complete(
    conn: Connection, account_id: UUID, upload_id: UUID, *, md5: str, generation: int, width: int, height: int
) -> Row | None:
    """The upload, ready with what was found; None when it is pending no longer."""
    return conn.maybe(
        """
        UPDATE uploads
        SET status = 'ready', md5 = :md5::text, generation = :generation::bigint, width = :width::int,
            height = :height::int, completed_at = now()
        WHERE account_id = :account_id::uuid AND id = :upload_id::uuid AND status = 'pending'
        RETURNING id, status, purpose, file_name, content_type, size_bytes, md5, object_name, width, height,
                  created_at, expires_at
        """,
        account_id=account_id,
        upload_id=upload_id,
        md5=md5,
        generation=generation,
        width=width,
        height=height,
    )


def cancel(conn: Connection, account_id: UUID, upload_id: UUID) -> Row | None:
    """The name of the canceled upload's object; None when it is pending no longer."""
    return conn.maybe(
        """
        UPDATE uploads SET status = 'canceled', completed_at = now()
        WHERE account_id = :account_id::uuid AND id = :upload_id::uuid AND status = 'pending'
        RETURNING object_name
        """,
        account_id=account_id,
        upload_id=upload_id,
    )


def expire(conn: Connection, limit: int) -> list[Row]:
    """Expire at most `limit` uploads whose time is over; the names of their objects."""
    return conn.rows(
        """
        UPDATE uploads SET status = 'expired', completed_at = now()
        WHERE id IN (
            SELECT id FROM uploads WHERE status = 'pending' AND expires_at <= now()
            ORDER BY expires_at LIMIT :limit::int FOR UPDATE SKIP LOCKED
        )
        RETURNING object_name
        """,
        limit=limit,
    )
