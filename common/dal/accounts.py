"""Accounts: made, let in, kept out, and what one is told of its own."""

from uuid import UUID

from common.db import Connection, Row


def find_by_email(conn: Connection, email: str) -> Row | None:
    """The account of an e-mail address, in whatever case it is written."""
    return conn.maybe(
        """
        SELECT id, email, name, password_hash, external_subject, disabled_at, created_at
        FROM accounts WHERE lower(email) = lower(:email::text)
        """,
        email=email,
    )


def find_for_sign_in(conn: Connection, email: str, network: str) -> Row:
    """The account of an e-mail address, and whether it has signed in from `network` in the last 90 days.

    All of it is null when there is none, but for `address`: what one account is found by, however it is written.
    """
    return conn.one(
        """
        SELECT one.address, a.id, a.email, a.name, a.password_hash, a.disabled_at,
               EXISTS (SELECT FROM sessions s WHERE s.account_id = a.id AND s.network = :network::text
                       AND s.created_at > now() - interval '90 days') AS knows_network
        FROM (SELECT lower(:email::text) AS address) one
        LEFT JOIN accounts a ON lower(a.email) = one.address
        """,
        email=email,
        network=network,
    )


def insert(
    conn: Connection, email: str, name: str, password_hash: str | None, external_subject: str | None = None
) -> UUID:
    """A new account without credits. Conflict `email_taken` or `subject_taken`."""
    row = conn.one(
        """
        WITH account AS (
            INSERT INTO accounts (email, name, password_hash, external_subject)
            VALUES (:email::text, :name::text, :password_hash::text, :external_subject::text)
            RETURNING id
        ),
        credits AS (INSERT INTO credit_accounts (account_id) SELECT id FROM account)
        SELECT id FROM account
        """,
        email=email,
        name=name,
        password_hash=password_hash,
        external_subject=external_subject,
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


def set_disabled(conn: Connection, account_id: UUID, *, disabled: bool) -> bool:
    """Disable an account, or let it in again; whether that changed anything."""
    row = conn.maybe(
        """
        UPDATE accounts SET disabled_at = CASE WHEN :disabled::boolean THEN now() END
        WHERE id = :account_id::uuid AND (disabled_at IS NOT NULL) <> :disabled
        RETURNING id
        """,
        account_id=account_id,
        disabled=disabled,
    )
    return row is not None


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


def me(conn: Connection, account_id: UUID) -> Row:
    """An account's balance and its newest hundred sessions that can still be used, in one round trip."""
    return conn.one(
        """
        SELECT c.available, c.held, c.granted, c.spent, now() AS as_of,
               coalesce((
                   SELECT jsonb_agg(jsonb_build_object('id', id, 'device', device, 'created_at', created_at,
                                                       'last_used_at', last_used_at) ORDER BY id DESC)
                   FROM (SELECT id, device, created_at, last_used_at FROM sessions
                         WHERE account_id = :account_id::uuid AND ended_at IS NULL AND expires_at > now()
                           AND last_used_at > now() - interval '30 days'
                         ORDER BY id DESC LIMIT 100)
               ), '[]') AS sessions
        FROM credit_accounts c WHERE c.account_id = :account_id
        """,
        account_id=account_id,
    )
