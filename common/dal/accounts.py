"""Accounts, their sessions and refresh tokens."""

from uuid import UUID

from common.db import Connection, Row


def find_by_email(conn: Connection, email: str) -> Row | None:
    """The account of an e-mail address, in whatever case it is written."""
    return conn.maybe(
        """
        SELECT id, email, name, password_hash, disabled_at FROM accounts WHERE lower(email) = lower(:email::text)
        """,
        email=email,
    )


def insert(conn: Connection, email: str, name: str, password_hash: str) -> UUID:
    """A new account without credits."""
    row = conn.one(
        """
        WITH account AS (
            INSERT INTO accounts (email, name, password_hash)
            VALUES (:email::text, :name::text, :password_hash::text)
            RETURNING id
        ),
        credits AS (INSERT INTO credit_accounts (account_id) SELECT id FROM account)
        SELECT id FROM account
        """,
        email=email,
        name=name,
        password_hash=password_hash,
    )
    found: UUID = row["id"]
    return found


def rename_away(conn: Connection, email: str) -> None:
    """Disable an account and free its e-mail address."""
    conn.rows(
        """
        UPDATE accounts SET email = id::text || '@invalid', disabled_at = coalesce(disabled_at, now())
        WHERE lower(email) = lower(:email::text)
        RETURNING id
        """,
        email=email,
    )


def update_password_hash(conn: Connection, account_id: UUID, known: str, password_hash: str) -> None:
    """Replace a hash made with older parameters, unless the password changed meanwhile."""
    conn.rows(
        """
        UPDATE accounts SET password_hash = :password_hash::text
        WHERE id = :account_id::uuid AND password_hash = :known::text
        RETURNING id
        """,
        account_id=account_id,
        known=known,
        password_hash=password_hash,
    )


def insert_session(
    conn: Connection,
    account_id: UUID,
    device: str,
    *,
    cookie_sha256: bytes | None,
    refresh_sha256: bytes | None,
) -> UUID | None:
    """A new session of an account that is not disabled, with its first refresh token when it has any."""
    row = conn.maybe(
        """
        WITH session AS (
            INSERT INTO sessions (account_id, device, cookie_sha256, expires_at)
            SELECT id, :device::text, :cookie_sha256::bytea, now() + interval '90 days'
            FROM accounts WHERE id = :account_id::uuid AND disabled_at IS NULL
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
        cookie_sha256=cookie_sha256,
        refresh_sha256=refresh_sha256,
    )
    return row["id"] if row else None


def lock_refresh_token(conn: Connection, sha256: bytes) -> Row | None:
    """A refresh token with its session and account, locked, and what may be done with it.

    `state`: `fresh`; `repeatable` (used within 60 s, its successor never was); `reused`; `ended`.
    """
    return conn.maybe(
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
        FOR UPDATE OF s, t
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


def end_session(conn: Connection, session_id: UUID, reason: str) -> None:
    """End a session; its access tokens are refused on the next request."""
    conn.rows(
        """
        UPDATE sessions SET ended_at = now(), end_reason = :reason::text
        WHERE id = :session_id::uuid AND ended_at IS NULL
        RETURNING id
        """,
        session_id=session_id,
        reason=reason,
    )


def end_all_sessions(conn: Connection, account_id: UUID, reason: str) -> None:
    """End every session of an account."""
    conn.rows(
        """
        UPDATE sessions SET ended_at = now(), end_reason = :reason::text
        WHERE account_id = :account_id::uuid AND ended_at IS NULL
        RETURNING id
        """,
        account_id=account_id,
        reason=reason,
    )


def me(conn: Connection, account_id: UUID) -> Row:
    """An account's balance and its sessions, in one round trip."""
    return conn.one(
        """
        SELECT c.available, c.held, c.granted, c.spent, now() AS as_of,
               coalesce((
                   SELECT jsonb_agg(jsonb_build_object('id', id, 'device', device, 'created_at', created_at,
                                                       'last_used_at', last_used_at) ORDER BY id DESC)
                   FROM sessions
                   WHERE account_id = :account_id::uuid AND ended_at IS NULL AND expires_at > now()
               ), '[]') AS sessions
        FROM credit_accounts c WHERE c.account_id = :account_id
        """,
        account_id=account_id,
    )
