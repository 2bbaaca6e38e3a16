"""API keys and their secrets."""

from datetime import datetime
from uuid import UUID

from common.db import Connection, Row


def insert(
    conn: Connection,
    account_id: UUID,
    *,
    name: str,
    scopes: list[str],
    platforms: list[str],
    expires_at: datetime | None,
    sha256: bytes,
    hint: str,
) -> Row | None:
    """A new key with its first secret; None when `expires_at` is not in the future."""
    return conn.maybe(
        """
        WITH key AS (
            INSERT INTO plugin_api_keys (account_id, name, scopes, platforms, expires_at)
            SELECT :account_id::uuid, :name::text, :scopes::text[], :platforms::text[], :expires_at::timestamptz
            WHERE :expires_at IS NULL OR :expires_at > now()
            RETURNING id, name, scopes, platforms, created_at, expires_at
        ),
        secret AS (
            INSERT INTO plugin_api_key_secrets (key_id, sha256, hint)
            SELECT id, :sha256::bytea, :hint::text FROM key
            RETURNING hint
        )
        SELECT key.*, secret.hint FROM key CROSS JOIN secret
        """,
        account_id=account_id,
        name=name,
        scopes=scopes,
        platforms=platforms,
        expires_at=expires_at,
        sha256=sha256,
        hint=hint,
    )


def list_page(conn: Connection, account_id: UUID, before: UUID | None, limit: int) -> list[Row]:
    """Keys, newest first, each with its current and its not yet ended secrets, newest first."""
    return conn.rows(
        """
        SELECT k.id, k.name, k.scopes, k.platforms, k.created_at, k.expires_at, k.revoked_at,
               s.hint, s.created_at AS secret_created_at, s.valid_until, s.last_used_at, s.last_used_platform
        FROM (
            SELECT id, name, scopes, platforms, created_at, expires_at, revoked_at
            FROM plugin_api_keys
            WHERE account_id = :account_id::uuid AND (:before::uuid IS NULL OR id < :before)
            ORDER BY id DESC LIMIT :limit::int
        ) k
        JOIN plugin_api_key_secrets s
          ON s.key_id = k.id AND (s.valid_until IS NULL OR s.valid_until > now())
        ORDER BY k.id DESC, s.id DESC
        """,
        account_id=account_id,
        before=before,
        limit=limit,
    )


def revoke(conn: Connection, account_id: UUID, key_id: UUID) -> bool:
    """Revoke a key, once; whether the account has such a key."""
    row = conn.maybe(
        """
        UPDATE plugin_api_keys SET revoked_at = coalesce(revoked_at, now())
        WHERE id = :key_id::uuid AND account_id = :account_id::uuid
        RETURNING id
        """,
        key_id=key_id,
        account_id=account_id,
    )
    return row is not None
