"""Deliveries: rows that are their own outbox, and the log of their attempts."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from common.db import Connection, Row


def publish(conn: Connection, account_id: UUID, event_type: str, payload: dict[str, Any]) -> list[Row]:
    """One delivery of an event for each webhook that asked for it; those to enqueue.

    A webhook that is not active gets a `skipped` one, which can be recovered.
    """
    return conn.rows(
        """
        WITH event AS (SELECT uuidv7() AS id),
        made AS (
            INSERT INTO webhook_deliveries
                (account_id, webhook_id, event_id, event_type, payload, status, due_at, sweep_at, completed_at)
            SELECT w.account_id, w.id, event.id, :event_type::text, :payload::jsonb,
                   CASE WHEN w.status = 'active' THEN 'pending' ELSE 'skipped' END,
                   CASE WHEN w.status = 'active' THEN now() END,
                   CASE WHEN w.status = 'active' THEN now() + interval '10 seconds' END,
                   CASE WHEN w.status <> 'active' THEN now() END
            FROM plugin_webhooks w CROSS JOIN event
            WHERE w.account_id = :account_id::uuid AND w.deleted_at IS NULL AND :event_type = ANY (w.events)
            RETURNING id, webhook_id, attempts, generation, status
        )
        SELECT id, webhook_id, attempts, generation FROM made WHERE status = 'pending'
        """,
        account_id=account_id,
        event_type=event_type,
        payload=json.dumps(payload),
    )


def claim(conn: Connection, delivery_id: UUID, *, lease_s: int, in_flight: int, in_flight_failing: int) -> Row | None:
    """Take a delivery for one attempt, with its webhook; None when nothing is left to do.

    `claimed` is false when somebody else has it (`lease_until` tells until when), or when the webhook has enough
    in flight: `in_flight` attempts, or `in_flight_failing` while its last five failed. The claim's generation is
    the proof that a settlement needs. What is left of a webhook that is not active any more ends here.
    """
    return conn.maybe(
        """
        WITH closed AS (
            UPDATE webhook_deliveries d
            SET status = CASE WHEN w.deleted_at IS NOT NULL THEN 'canceled' ELSE 'skipped' END,
                sweep_at = NULL, due_at = NULL, lease_until = NULL, completed_at = now()
            FROM plugin_webhooks w
            WHERE d.id = :delivery_id::uuid AND w.id = d.webhook_id
              AND (w.deleted_at IS NOT NULL OR w.status <> 'active')
              AND (d.status = 'pending' OR (d.status = 'delivering' AND d.lease_until <= now()))
        ),
        wanted AS (
            SELECT d.id, d.webhook_id, d.event_id, d.event_type, d.payload, d.attempts, d.scheduled, d.trigger,
                   d.status, d.created_at,
                   CASE WHEN d.status = 'delivering' AND d.lease_until > now() THEN d.lease_until END AS lease_until,
                   w.url, w.secret, w.failures_in_row,
                   CASE WHEN w.previous_valid_until > now() THEN w.previous_secret END AS previous_secret,
                   (SELECT count(*) FROM webhook_deliveries o
                    WHERE o.webhook_id = d.webhook_id AND o.status = 'delivering' AND o.lease_until > now()
                      AND o.id <> d.id) AS others
            FROM webhook_deliveries d JOIN plugin_webhooks w ON w.id = d.webhook_id
            WHERE d.id = :delivery_id AND d.status IN ('pending', 'delivering')
              AND w.deleted_at IS NULL AND w.status = 'active'
        ),
        taken AS (
            UPDATE webhook_deliveries d
            SET status = 'delivering', generation = d.generation + 1,
                lease_until = now() + :lease_s::int * interval '1 second',
                sweep_at = now() + (:lease_s + 10) * interval '1 second'
            FROM wanted
            WHERE d.id = wanted.id
              AND (d.status = 'pending' OR (d.status = 'delivering' AND d.lease_until <= now()))
              AND wanted.others < CASE WHEN wanted.failures_in_row >= 5 THEN :in_flight_failing::int
                                       ELSE :in_flight::int END
            RETURNING d.id, d.generation
        )
        SELECT wanted.*, taken.generation, taken.id IS NOT NULL AS claimed
        FROM wanted LEFT JOIN taken USING (id)
        """,
        delivery_id=delivery_id,
        lease_s=lease_s,
        in_flight=in_flight,
        in_flight_failing=in_flight_failing,
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
        WITH settled AS (
            UPDATE webhook_deliveries d
            SET status = CASE
                    WHEN :status::text <> 'pending' THEN :status
                    WHEN w.deleted_at IS NOT NULL THEN 'canceled'
                    WHEN w.status <> 'active' THEN 'skipped'
                    ELSE 'pending' END,
                due_at = CASE WHEN w.deleted_at IS NULL AND w.status = 'active' THEN :due_at::timestamptz END,
                sweep_at = CASE WHEN :status = 'pending' AND w.deleted_at IS NULL AND w.status = 'active'
                                THEN :due_at + interval '10 seconds' END,
                completed_at = CASE WHEN :status <> 'pending' OR w.deleted_at IS NOT NULL OR w.status <> 'active'
                                    THEN now() END,
                attempts = d.attempts + 1, scheduled = d.scheduled + :advance::int, trigger = 'schedule',
                lease_until = NULL, generation = d.generation + 1,
                last_status_code = :status_code::smallint, last_error_class = :error_class::text
            FROM plugin_webhooks w
            WHERE d.id = :delivery_id::uuid AND d.status = 'delivering' AND d.generation = :generation::int
              AND w.id = d.webhook_id
            RETURNING d.id, d.webhook_id, d.attempts, d.generation, d.status, d.due_at, d.event_type
        ),
        logged AS (
            INSERT INTO webhook_attempts
                (delivery_id, number, trigger, started_at, duration_ms, timings, remote_address, status_code,
                 error_class, error, request_headers, response_headers, response_body)
            SELECT id, attempts, :trigger::text, :started_at::timestamptz, :duration_ms::int, :timings::jsonb,
                   :remote_address::text, :status_code, :error_class, :error::text, :request_headers::jsonb,
                   :response_headers::jsonb, :response_body::text
            FROM settled
        ),
        noted AS (
            UPDATE plugin_webhooks w
            SET succeeded = w.succeeded + (:status = 'succeeded')::int,
                dead = w.dead + (:status = 'dead')::int,
                last_delivery_at = CASE WHEN :status IN ('succeeded', 'dead') THEN now() ELSE w.last_delivery_at END,
                last_success_at = CASE WHEN :status = 'succeeded' THEN now() ELSE w.last_success_at END,
                failing_since = CASE WHEN :status <> 'succeeded' THEN coalesce(w.failing_since, now()) END,
                failures_in_row = CASE WHEN :status = 'succeeded' THEN 0 ELSE w.failures_in_row + 1 END,
                last_error = CASE WHEN :status = 'succeeded' THEN NULL ELSE :error END
            FROM settled WHERE w.id = settled.webhook_id
            RETURNING w.id, w.failing_since, w.failures_in_row, w.last_error, w.status = 'active' AS active,
                      w.failing_since <= now() - interval '5 days' OR
                      (w.failing_since <= now() - interval '24 hours' AND w.failures_in_row >= 100) AS hopeless
        )
        SELECT settled.*, noted.failing_since, noted.failures_in_row, noted.last_error, noted.active,
               coalesce(noted.hopeless, false) AS hopeless
        FROM settled JOIN noted ON noted.id = settled.webhook_id
        """,
        delivery_id=delivery_id,
        generation=generation,
        status=status,
        due_at=due_at,
        advance=advance,
        **attempt,
    )


def claim_due(conn: Connection, limit: int) -> list[Row]:
    """Deliveries that are due and have no live task, each given a new generation."""
    return conn.rows(
        """
        UPDATE webhook_deliveries d
        SET generation = d.generation + 1,
            sweep_at = now() + interval '10 seconds' * 2 ^ least(d.generation, 5)
        FROM (
            SELECT id FROM webhook_deliveries
            WHERE sweep_at <= now() ORDER BY sweep_at LIMIT :limit::int FOR UPDATE SKIP LOCKED
        ) due
        WHERE d.id = due.id
        RETURNING d.id, d.webhook_id, d.attempts, d.generation
        """,
        limit=limit,
    )
