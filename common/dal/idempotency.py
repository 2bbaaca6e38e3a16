"""What an Idempotency-Key was used for."""

from uuid import UUID

from common.db import Connection, Row


def begin(conn: Connection, account_id: UUID, key: str) -> Row:
    """Lock the key for this transaction, and read its record: `locked`, and `function` … or nulls.

    The record is read by the snapshot taken before the lock: a first call that ends in between is not seen,
    and `remember` finds its record instead.
    """
    return conn.one(
        """
        SELECT pg_try_advisory_xact_lock(hashtextextended(:account_id::text || ' ' || :key::text, 0)) AS locked,
               r.function, r.request_sha256, r.status, r.resource_id
        FROM (SELECT) one
        LEFT JOIN idempotency_keys r ON r.account_id = :account_id::uuid AND r.key = :key
              AND r.created_at > now() - interval '24 hours'
        """,
        account_id=str(account_id),
        key=key,
    )


def remember(
    conn: Connection,
    account_id: UUID,
    key: str,
    function: str,
    request_sha256: bytes,
    status: int,
    resource_id: UUID,
) -> bool:
    """Record what the key did, in the transaction that did it; whether it was free.

    A record older than a day gives way.
    """
    row = conn.maybe(
        """
        INSERT INTO idempotency_keys AS r (account_id, key, function, request_sha256, status, resource_id)
        VALUES (:account_id::uuid, :key::text, :function::text, :request_sha256::bytea, :status::smallint,
                :resource_id::uuid)
        ON CONFLICT (account_id, key) DO UPDATE
        SET function = excluded.function, request_sha256 = excluded.request_sha256, status = excluded.status,
            resource_id = excluded.resource_id, created_at = now()
        WHERE r.created_at <= now() - interval '24 hours'
        RETURNING 1
        """,
        account_id=account_id,
        key=key,
        function=function,
        request_sha256=request_sha256,
        status=status,
        resource_id=resource_id,
    )
    return row is not None


def delete_old(conn: Connection, limit: int) -> int:
    """Forget at most `limit` records older than a day; how many there were."""
    return len(
        conn.rows(
            """
            DELETE FROM idempotency_keys
            WHERE (account_id, key) IN (
                SELECT account_id, key FROM idempotency_keys
                WHERE created_at <= now() - interval '24 hours' ORDER BY created_at LIMIT :limit::int
            )
            RETURNING 1
            """,
            limit=limit,
        )
    )
