"""Credits: the balance, and the hold that a render starts with (see `dal.renders`)."""

from uuid import UUID

from common.db import Connection, Row


def get_balance(conn: Connection, account_id: UUID) -> Row:
    """The account's balance at the database's time; zeros for an account that never had a grant."""
    return conn.one(
        """
        SELECT coalesce(c.available, 0) AS available, coalesce(c.held, 0) AS held,
               coalesce(c.granted, 0) AS granted, coalesce(c.spent, 0) AS spent, now() AS as_of
        FROM (SELECT) one LEFT JOIN credit_accounts c ON c.account_id = :account_id::uuid
        """,
        account_id=account_id,
    )


def grant(conn: Connection, account_id: UUID, amount: int) -> None:
    """Add credits to an account, with the entry that tells it."""
    conn.one(
        """
        WITH account AS (
            UPDATE credit_accounts
            SET granted = granted + :amount::bigint, available = available + :amount, updated_at = now()
            WHERE account_id = :account_id::uuid
            RETURNING account_id, available
        )
        INSERT INTO credit_entries (account_id, kind, amount, available_after)
        SELECT account_id, 'grant', :amount, available FROM account
        RETURNING id
        """,
        account_id=account_id,
        amount=amount,
    )
