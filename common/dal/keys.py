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
    max_age_days: int | None,
    sha256: bytes,
    hint: str,
) -> Row | None:
    """A new key with its first secret; None when `expires_at` is not in the future."""
    return conn.maybe(
        """
        WITH key AS (
            INSERT INTO plugin_api_keys (account_id, name, scopes, platforms, expires_at, max_age_days)
            SELECT :account_id::uuid, :name::text, :scopes::text[], :platforms::text[], :expires_at::timestamptz,
                   :max_age_days::int
            WHERE :expires_at IS NULL OR :expires_at > now()
            RETURNING id, name, scopes, platforms, created_at, expires_at, max_age_days
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
        max_age_days=max_age_days,
        sha256=sha256,
        hint=hint,
    )


def list_page(conn: Connection, account_id: UUID, before: UUID, limit: int) -> list[Row]:
    """Keys made before `before`, newest first, each with its current and its not yet ended secrets, newest first.

    `used_at` and `used_platform` are the key's last use, by whichever secret, also by one that has ended.
    """
    return conn.rows(
        """
        SELECT k.id, k.name, k.scopes, k.platforms, k.created_at, k.expires_at, k.revoked_at, k.max_age_days,
               s.hint, s.created_at AS secret_created_at, s.valid_until, s.last_used_at, s.last_used_platform,
               u.last_used_at AS used_at, u.last_used_platform AS used_platform
        FROM (
            SELECT id, name, scopes, platforms, created_at, expires_at, revoked_at, max_age_days
            FROM plugin_api_keys
            WHERE account_id = :account_id::uuid AND id < :before::uuid
            ORDER BY id DESC LIMIT :limit::int
        ) k
        JOIN plugin_api_key_secrets s
          ON s.key_id = k.id AND (s.valid_until IS NULL OR s.valid_until > now())
        LEFT JOIN LATERAL (
            SELECT last_used_at, last_used_platform FROM plugin_api_key_secrets
            WHERE key_id = k.id AND last_used_at IS NOT NULL
            ORDER BY last_used_at DESC LIMIT 1
        ) u ON true
        ORDER BY k.id DESC, s.id DESC
        """,
        account_id=account_id,
        before=before,
        limit=limit,
    )


def lock(conn: Connection, account_id: UUID, key_id: UUID) -> Row | None:
    """A key, locked for a rotation; `live` when it is neither revoked nor expired."""
    return conn.maybe(
        """
        SELECT scopes, platforms, expires_at,
               revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AS live
        FROM plugin_api_keys
        WHERE id = :key_id::uuid AND account_id = :account_id::uuid
        FOR UPDATE
        """,
        key_id=key_id,
        account_id=account_id,
    )


def rotate(conn: Connection, key_id: UUID, *, grace_s: int, sha256: bytes, hint: str) -> Row:
    """Add a secret to a locked key. Of the one that was current before: its `hint`, and how long it is good.

    Its life is never extended, and what is in an older grace ends at once. But when nobody ever showed the current
    secret its answer was `lost`: then it ends at once, and the older one, whose grace stands, is told instead.

    By a statement of its own: the secrets must be as they are once the key's lock is got. By the clock, too: what
    another rotation has ended while this transaction waited ended after its `now()`.
    """
    return conn.one(
        """
        WITH live AS (
            SELECT id, hint, valid_until, first_used_at
            FROM plugin_api_key_secrets
            WHERE key_id = :key_id::uuid AND (valid_until IS NULL OR valid_until > clock_timestamp())
            FOR UPDATE
        ),
        older AS (SELECT id, hint, valid_until FROM live WHERE valid_until IS NOT NULL ORDER BY id DESC LIMIT 1),
        current AS (
            SELECT c.id, o.id AS older_id, o.hint, o.valid_until, o.id IS NOT NULL AND c.first_used_at IS NULL AS lost
            FROM live c LEFT JOIN older o ON true
            WHERE c.valid_until IS NULL
        ),
        out AS (
            UPDATE plugin_api_key_secrets s
            SET valid_until = CASE WHEN c.lost THEN now()
                                   ELSE least(k.expires_at, now() + :grace_s::int * interval '1 second') END
            FROM current c CROSS JOIN plugin_api_keys k
            WHERE s.id = c.id AND k.id = s.key_id
            RETURNING s.hint, s.valid_until
        ),
        over AS (
            UPDATE plugin_api_key_secrets s SET valid_until = now()
            FROM current c WHERE s.id = c.older_id AND NOT c.lost
        ),
        added AS (
            INSERT INTO plugin_api_key_secrets (key_id, sha256, hint)
            SELECT :key_id, :sha256::bytea, :hint::text FROM out
        )
        SELECT CASE WHEN c.lost THEN c.hint ELSE o.hint END AS hint,
               CASE WHEN c.lost THEN c.valid_until ELSE o.valid_until END AS valid_until
        FROM current c CROSS JOIN out o
        """,
        key_id=key_id,
        grace_s=grace_s,
        sha256=sha256,
        hint=hint,
    )


def revoke(conn: Connection, account_id: UUID, key_id: UUID) -> Row | None:
    """Revoke a key; `first` tells whether it was not revoked before. None when the account has no such key."""
    return conn.maybe(
        """
        WITH key AS (
            SELECT id, revoked_at FROM plugin_api_keys
            WHERE id = :key_id::uuid AND account_id = :account_id::uuid
            FOR UPDATE
        )
        UPDATE plugin_api_keys k SET revoked_at = coalesce(k.revoked_at, now())
        FROM key WHERE k.id = key.id
        RETURNING key.revoked_at IS NULL AS first
        """,
        key_id=key_id,
        account_id=account_id,
    )
