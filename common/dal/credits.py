"""Credits: balances, entries, and whether they agree. Holds are made and ended with renders (`dal.renders`)."""

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


def list_entries(conn: Connection, account_id: UUID, before: UUID, limit: int) -> list[Row]:
    """At most `limit` entries made before `before`, newest first."""
    return conn.rows(
        """
        SELECT id, kind, amount, available_after, render_id, created_at
        FROM credit_entries
        WHERE account_id = :account_id::uuid AND id < :before::uuid
        ORDER BY id DESC
        LIMIT :limit::int
        """,
        account_id=account_id,
        before=before,
        limit=limit,
    )


def list_accounts(conn: Connection, after: UUID, limit: int) -> list[UUID]:
    """At most `limit` accounts that have credits, in the order of their ids."""
    rows = conn.rows(
        """
        SELECT account_id FROM credit_accounts WHERE account_id > :after::uuid ORDER BY account_id LIMIT :limit::int
        """,
        after=after,
        limit=limit,
    )
    return [row["account_id"] for row in rows]


def compare(conn: Connection, account_id: UUID) -> Row:
    """An account's balance as it stands, as its entries tell it and as its renders tell it, at one moment.

    `available`, `held`, `spent`, `granted`; `entries_…` and `renders_…` of them. `unsettled` counts renders whose
    entries are not a hold and, once they are over, the one end that their hold's state names.
    """
    return conn.one(
        """
        WITH entries AS (
            SELECT coalesce(sum(amount) FILTER (WHERE kind = 'grant'), 0)::bigint AS granted,
                   coalesce(sum(amount) FILTER (WHERE kind = 'hold'), 0)::bigint AS held,
                   coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0)::bigint AS captured,
                   coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0)::bigint AS released
            FROM credit_entries WHERE account_id = :account_id::uuid
        ),
        settled AS (
            SELECT render_id, sum(amount) FILTER (WHERE kind = 'hold') AS held,
                   sum(amount) FILTER (WHERE kind = 'capture') AS captured,
                   sum(amount) FILTER (WHERE kind = 'release') AS released
            FROM credit_entries WHERE account_id = :account_id AND render_id IS NOT NULL
            GROUP BY render_id
        ),
        told AS (
            SELECT coalesce(sum(r.quoted) FILTER (WHERE r.hold = 'held'), 0)::bigint AS held,
                   coalesce(sum(r.charged), 0)::bigint AS spent,
                   count(*) FILTER (
                       WHERE s.held IS DISTINCT FROM r.quoted
                          OR s.captured IS DISTINCT FROM CASE r.hold WHEN 'captured' THEN r.quoted END
                          OR s.released IS DISTINCT FROM CASE r.hold WHEN 'released' THEN r.quoted END
                   ) AS unsettled
            FROM renders r LEFT JOIN settled s ON s.render_id = r.id
            WHERE r.account_id = :account_id
        )
        SELECT c.available, c.held, c.spent, c.granted,
               e.granted - e.held + e.released AS entries_available,
               e.held - e.captured - e.released AS entries_held,
               e.captured AS entries_spent, e.granted AS entries_granted,
               t.held AS renders_held, t.spent AS renders_spent, t.unsettled
        FROM credit_accounts c CROSS JOIN entries e CROSS JOIN told t
        WHERE c.account_id = :account_id
        """,
        account_id=account_id,
    )
