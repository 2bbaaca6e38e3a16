"""Sessions and their refresh tokens."""

from uuid import UUID

from common.db import Connection, Row


def insert(
    conn: Connection,
    account_id: UUID,
    device: str,
    network: str,
    *,
    cookie_sha256: bytes | None,
    refresh_sha256: bytes | None,
) -> UUID | None:
    """A new session of an account that is not disabled, with its first refresh token when it has any."""
    row = conn.maybe(
        """
        WITH session AS (
            INSERT INTO sessions (account_id, device, network, cookie_sha256, expires_at)
            SELECT id, :device::text, :network::text, :cookie_sha256::bytea, now() + interval '90 days'
            -- Locked, so that whoever disables the account at this moment finds the session and ends it.
            FROM (SELECT id FROM accounts WHERE id = :account_id::uuid AND disabled_at IS NULL FOR SHARE) account
            RETURNING id
        ),
        token AS (
            INSERT INTO refresh_tokens (sha256, session_id)
            SELECT :refresh_sha256::bytea, id FROM session WHERE :refresh_sha256 IS NOT NULL
        )
        SELECT id FROM session
        """,
        account_id=account_id,
        device=device,
        network=network,
        cookie_sha256=cookie_sha256,
        refresh_sha256=refresh_sha256,
    )
    return row["id"] if row else None


def lock_of_refresh_token(conn: Connection, sha256: bytes) -> bool:
    """Lock the session of a refresh token; whether there is one.

    By a statement of its own: what is read of the token's successors must be as it is once the lock is got.
    """
    row = conn.maybe(
        """
        SELECT s.id FROM sessions s
        WHERE s.id = (SELECT session_id FROM refresh_tokens WHERE sha256 = :sha256::bytea)
        FOR UPDATE
        """,
        sha256=sha256,
    )
    return row is not None


def get_refresh_token(conn: Connection, sha256: bytes) -> Row:
    """A refresh token with its session and account, and what may be done with it.

    `state`: `fresh`; `repeatable` (used within 60 s, its successor never was); `reused`; `ended`.
    """
    return conn.one(
        """
        SELECT t.session_id, s.account_id, a.email, a.name,
               CASE
                   WHEN s.ended_at IS NOT NULL OR s.expires_at <= now() OR a.disabled_at IS NOT NULL THEN 'ended'
                   WHEN t.replaced_at IS NOT NULL THEN 'reused'
                   WHEN t.used_at IS NULL AND t.created_at <= now() - interval '30 days' THEN 'ended'
                   WHEN t.used_at IS NULL THEN 'fresh'
                   WHEN t.used_at > now() - interval '60 seconds' AND NOT EXISTS (
                       SELECT FROM refresh_tokens n
                       WHERE n.parent_sha256 = t.sha256 AND (n.used_at IS NOT NULL OR n.replaced_at IS NOT NULL)
                   ) THEN 'repeatable'
                   ELSE 'reused'
               END AS state
        FROM refresh_tokens t
        JOIN sessions s ON s.id = t.session_id
        JOIN accounts a ON a.id = s.account_id
        WHERE t.sha256 = :sha256::bytea
        """,
        sha256=sha256,
    )


def exchange_refresh_token(conn: Connection, session_id: UUID, used: bytes, successor: bytes) -> None:
    """Mark `used`, put away its earlier successor if its answer was lost, and add the new one."""
    conn.rows(
        """
        WITH marked AS (
            UPDATE refresh_tokens SET used_at = coalesce(used_at, now()) WHERE sha256 = :used::bytea
        ),
        replaced AS (
            UPDATE refresh_tokens SET replaced_at = now() WHERE parent_sha256 = :used AND replaced_at IS NULL
        ),
        touched AS (UPDATE sessions SET last_used_at = now() WHERE id = :session_id::uuid)
        INSERT INTO refresh_tokens (sha256, session_id, parent_sha256)
        VALUES (:successor::bytea, :session_id, :used)
        """,
        session_id=session_id,
        used=used,
        successor=successor,
    )


def end(conn: Connection, session_id: UUID, reason: str) -> bool:
    """End a session; its access tokens are refused on the next request. Whether it was not over yet."""
    row = conn.maybe(
        """
        UPDATE sessions SET ended_at = now(), end_reason = :reason::text
        WHERE id = :session_id::uuid AND ended_at IS NULL
        RETURNING id
        """,
        session_id=session_id,
        reason=reason,
    )
    return row is not None


def end_all(conn: Connection, account_id: UUID, reason: str) -> list[Row]:
    """End every session of an account; the `id` of each that was not over yet."""
    return conn.rows(
        """
        UPDATE sessions SET ended_at = now(), end_reason = :reason::text
        WHERE account_id = :account_id::uuid AND ended_at IS NULL
        RETURNING id
        """,
        account_id=account_id,
        reason=reason,
    )


def forget(conn: Connection, limit: int) -> int:
    """Delete at most `limit` sessions that began 91 days ago, with their refresh tokens; how many.

    None lives longer than 90 days. An id holds the time that it was made, so the oldest are found by the primary key.
    """
    row = conn.one(
        """
        WITH gone AS (
            DELETE FROM sessions WHERE id = ANY (ARRAY(
                SELECT id FROM sessions WHERE id < (SELECT uuidv7(interval '-91 days')) ORDER BY id LIMIT :limit::int
            ))
            RETURNING 1
        )
        SELECT count(*) AS forgotten FROM gone
        """,
        limit=limit,
    )
    return int(row["forgotten"])
