"""A delivery's work: its claim with a lease, its settlement, and the sweep. Rows are their own outbox.

The webhook's row is the lock of everything about its deliveries' states: whoever moves one into or out of `pending`
and `delivering` takes that row first, then the delivery's. So the counts and the bulkhead are exact, and a webhook's
end is never overtaken. The sweep and a postponement lock deliveries only, and never a webhook after them.
These serve our own tasks: a delivery is named by its id alone.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from common.db import Connection, Row


def lock_webhook(
    conn: Connection, delivery_id: UUID, *, in_flight: int, in_flight_slow: int, in_flight_failing: int, slow_ms: int
) -> Row | None:
    """Lock the webhook of a delivery that could be claimed; whether it is `locked`, and how many are `allowed` at once.

    Of its attempts, `in_flight_failing` while the last five failed, `in_flight_slow` while one of those took `slow_ms`.
    It is not locked when it has as many, so that the many deliveries of a slow one do not queue for its row.
    """
    return conn.maybe(
        """
        WITH room AS (
            SELECT w.id, limits.allowed,
                   w.status <> 'active' OR w.deleted_at IS NOT NULL OR limits.allowed >
                       (SELECT count(*) FROM webhook_deliveries o
                        WHERE o.webhook_id = w.id AND o.status = 'delivering' AND o.lease_until > now()) AS fits
            FROM webhook_deliveries d JOIN plugin_webhooks w ON w.id = d.webhook_id
            CROSS JOIN LATERAL (
                SELECT CASE WHEN w.failures_in_row >= 5 THEN :in_flight_failing::int
                            WHEN max(a.duration_ms) >= :slow_ms::int THEN :in_flight_slow::int
                            ELSE :in_flight::int END AS allowed
                FROM (SELECT duration_ms FROM webhook_attempts
                      WHERE webhook_id = w.id ORDER BY started_at DESC LIMIT 5) a
            ) limits
            WHERE d.id = :delivery_id::uuid
              AND (d.status = 'pending' OR (d.status = 'delivering' AND d.lease_until <= now()))
        ),
        locked AS (
            SELECT w.id FROM plugin_webhooks w JOIN room ON room.id = w.id WHERE room.fits FOR NO KEY UPDATE OF w
        )
        SELECT allowed, EXISTS (SELECT FROM locked) AS locked FROM room
        """,
        delivery_id=delivery_id,
        in_flight=in_flight,
        in_flight_slow=in_flight_slow,
        in_flight_failing=in_flight_failing,
        slow_ms=slow_ms,
    )


def claim(
    conn: Connection,
    delivery_id: UUID,
    generation: int | None,
    *,
    locked: bool,
    allowed: int,
    in_flight_failing: int,
    lease_s: int,
) -> Row | None:
    """Take a delivery for one attempt, with its webhook; None when nothing is left to do now.

    A task of the delivery's present `generation` may be early ("Force run"); an outdated one only takes what is due.
    `claimed` is false when somebody else has it (`lease_until` tells until when), or when the webhook has `allowed`
    attempts in flight, or `in_flight_failing` should its last five have failed meanwhile. With the webhook `locked` by
    an earlier statement of the transaction that count is exact; without, nothing is claimed. The claim's generation is
    the proof that a settlement needs. What is left of a webhook that is not active any more ends here. `began_at` is
    when the delivery's schedule began: with the first attempt of those that `scheduled` counts, or with this one.
    """
    return conn.maybe(
        """
        WITH closed AS (
            UPDATE webhook_deliveries d
            SET status = CASE WHEN w.deleted_at IS NOT NULL THEN 'canceled' ELSE 'skipped' END,
                sweep_at = NULL, due_at = NULL, lease_until = NULL, completed_at = now()
            FROM plugin_webhooks w
            WHERE d.id = :delivery_id::uuid AND w.id = d.webhook_id AND :locked::bool
              AND (w.deleted_at IS NOT NULL OR w.status <> 'active')
              AND (d.status = 'pending' OR (d.status = 'delivering' AND d.lease_until <= now()))
            RETURNING d.webhook_id
        ),
        counted AS (
            UPDATE plugin_webhooks w SET pending = w.pending - 1 FROM closed WHERE w.id = closed.webhook_id
        ),
        wanted AS (
            SELECT d.id, d.webhook_id, d.event_id, d.event_type, d.payload, d.attempts, d.scheduled, d.trigger,
                   w.url, w.failures_in_row, w.pending,
                   coalesce((SELECT min(a.started_at)
                             FROM (SELECT started_at FROM webhook_attempts
                                   WHERE delivery_id = d.id AND trigger <> 'manual'
                                   ORDER BY number DESC LIMIT d.scheduled) a), now()) AS began_at,
                   CASE WHEN d.status = 'delivering' AND d.lease_until > now() THEN d.lease_until END AS lease_until,
                   (SELECT array_agg(s.sealed ORDER BY s.id DESC) FROM plugin_webhook_secrets s
                    WHERE s.webhook_id = w.id AND (s.valid_until IS NULL OR s.valid_until > now())) AS secrets,
                   (SELECT count(*) FROM webhook_deliveries o
                    WHERE o.webhook_id = d.webhook_id AND o.status = 'delivering' AND o.lease_until > now()) AS others
            FROM webhook_deliveries d JOIN plugin_webhooks w ON w.id = d.webhook_id
            WHERE d.id = :delivery_id AND d.status IN ('pending', 'delivering')
              AND (d.status = 'delivering' OR d.generation = :generation::int OR d.due_at <= now())
              AND w.deleted_at IS NULL AND w.status = 'active'
        ),
        taken AS (
            UPDATE webhook_deliveries d
            SET status = 'delivering', generation = d.generation + 1,
                lease_until = clock_timestamp() + :lease_s::int * interval '1 second',
                sweep_at = clock_timestamp() + (:lease_s + 10) * interval '1 second'
            FROM wanted
            WHERE d.id = wanted.id AND :locked
              AND (d.status = 'pending' OR (d.status = 'delivering' AND d.lease_until <= now()))
              AND wanted.others < CASE WHEN wanted.failures_in_row >= 5 THEN :in_flight_failing::int
                                       ELSE :allowed::int END
            RETURNING d.id, d.generation
        )
        SELECT wanted.*, taken.generation, taken.id IS NOT NULL AS claimed
        FROM wanted LEFT JOIN taken USING (id)
        """,
        delivery_id=delivery_id,
        generation=generation,
        locked=locked,
        allowed=allowed,
        in_flight_failing=in_flight_failing,
        lease_s=lease_s,
    )


def postpone(conn: Connection, delivery_id: UUID, due_at: datetime) -> Row | None:
    """Move a delivery that nobody could take to `due_at`, without spending an attempt."""
    return conn.maybe(
        """
        UPDATE webhook_deliveries
        SET generation = generation + 1, sweep_at = :due_at::timestamptz + interval '10 seconds',
            due_at = CASE WHEN status = 'pending' THEN :due_at ELSE due_at END
        WHERE id = :delivery_id::uuid
          AND (status = 'pending' OR (status = 'delivering' AND lease_until <= now()))
        RETURNING id, webhook_id, attempts, generation
        """,
        delivery_id=delivery_id,
        due_at=due_at,
    )


def settle(
    conn: Connection,
    delivery_id: UUID,
    generation: int,
    *,
    status: str,
    due_at: datetime | None,
    advance: int,
    attempt: dict[str, Any],
) -> Row | None:
    """Record an attempt, the delivery's next state and what it says of the webhook: one statement.

    None when the claim of `generation` is no longer the delivery's. The webhook's own end in between wins: its
    deliveries are canceled or skipped and not scheduled again.
    """
    return conn.maybe(
        """
        WITH webhook AS MATERIALIZED (
            SELECT w.id, w.status = 'active' AND w.deleted_at IS NULL AS active, w.deleted_at IS NOT NULL AS deleted
            FROM plugin_webhooks w
            WHERE w.id = (SELECT webhook_id FROM webhook_deliveries WHERE id = :delivery_id::uuid)
            FOR NO KEY UPDATE
        ),
        settled AS (
            UPDATE webhook_deliveries d
            SET status = CASE
                    WHEN :status::text <> 'pending' THEN :status
                    WHEN w.deleted THEN 'canceled'
                    WHEN NOT w.active THEN 'skipped'
                    ELSE 'pending' END,
                due_at = CASE WHEN w.active THEN :due_at::timestamptz END,
                sweep_at = CASE WHEN :status = 'pending' AND w.active THEN :due_at + interval '10 seconds' END,
                completed_at = CASE WHEN :status <> 'pending' OR NOT w.active THEN now() END,
                attempts = d.attempts + 1, scheduled = d.scheduled + :advance::int, trigger = 'schedule',
                lease_until = NULL, generation = d.generation + 1,
                last_status_code = :status_code::smallint, last_error_class = :error_class::text
            FROM webhook w
            WHERE d.id = :delivery_id AND d.status = 'delivering' AND d.generation = :generation::int
            RETURNING d.id, d.account_id, d.webhook_id, d.attempts, d.generation, d.status, d.due_at, d.event_type
        ),
        logged AS (
            INSERT INTO webhook_attempts
                (delivery_id, webhook_id, number, trigger, started_at, duration_ms, timings, remote_address,
                 status_code, error_class, error, request_headers, response_headers, response_body)
            SELECT id, webhook_id, attempts, :trigger::text, :started_at::timestamptz, :duration_ms::int,
                   :timings::jsonb, :remote_address::text, :status_code, :error_class, :error::text,
                   :request_headers::jsonb, :response_headers::jsonb, :response_body::text
            FROM settled
        ),
        noted AS (
            UPDATE plugin_webhooks w
            SET pending = w.pending - (settled.status <> 'pending')::int,
                succeeded = w.succeeded + (settled.status = 'succeeded')::int,
                dead = w.dead + (settled.status = 'dead')::int,
                last_delivery_at = CASE WHEN :status IN ('succeeded', 'dead') THEN now() ELSE w.last_delivery_at END,
                last_success_at = CASE WHEN :status = 'succeeded' THEN now() ELSE w.last_success_at END,
                failing_since = CASE WHEN :status <> 'succeeded' THEN coalesce(w.failing_since, now()) END,
                failures_in_row = CASE WHEN :status = 'succeeded' THEN 0 ELSE w.failures_in_row + 1 END,
                last_error = CASE WHEN :status = 'succeeded' THEN NULL ELSE :error END
            FROM settled WHERE w.id = settled.webhook_id
            RETURNING w.id, w.failing_since, w.failures_in_row, w.last_error,
                      w.failing_since <= now() - interval '5 days' OR
                      (w.failing_since <= now() - interval '24 hours' AND w.failures_in_row >= 100) AS hopeless
        )
        SELECT settled.*, noted.failing_since, noted.failures_in_row, noted.last_error, webhook.active,
               coalesce(noted.hopeless, false) AS hopeless
        FROM settled JOIN noted ON noted.id = settled.webhook_id JOIN webhook ON webhook.id = noted.id
        """,
        delivery_id=delivery_id,
        generation=generation,
        status=status,
        due_at=due_at,
        advance=advance,
        **attempt,
    )


def claim_due(conn: Connection, limit: int) -> list[Row]:
    """Deliveries that are due and have no live task, each given a new generation.

    Each is looked after again when it is twice as long overdue, after 10 s at the least, after 5 minutes at the most.
    """
    return conn.rows(
        """
        UPDATE webhook_deliveries d
        SET generation = d.generation + 1,
            sweep_at = now() + least(greatest(now() - d.due_at, interval '10 seconds'), interval '5 minutes')
        FROM (
            SELECT id FROM webhook_deliveries
            WHERE sweep_at <= now() ORDER BY sweep_at LIMIT :limit::int FOR UPDATE SKIP LOCKED
        ) due
        WHERE d.id = due.id
        RETURNING d.id, d.webhook_id, d.attempts, d.generation
        """,
        limit=limit,
    )
