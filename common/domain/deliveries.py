"""One attempt of a delivery: claim, send, settle. No transaction is open while it is sent.

Delivery is at least once: a worker that dies after sending is followed by another, under the same `webhook-id`.
"""

import json
import random
from datetime import timedelta
from typing import Any
from uuid import UUID

from common import db, log
from common.clock import now
from common.config import settings
from common.dal import deliveries as dal
from common.dal import webhooks as webhooks_dal
from common.db import Row
from common.domain import events, render_views
from common.webhooks import schedule, secrets, sender, signing
from common.webhooks.sender import Outcome

#: Above the sender's deadline of 15 s.
LEASE_S = 30
IN_FLIGHT = 8
IN_FLIGHT_FAILING = 1
#: How long a delivery waits when its webhook has enough in flight; seconds, drawn evenly.
CROWDED_S = (1.0, 5.0)


def attempt(delivery_id: UUID) -> None:
    """Attempt a delivery whose task has come. Every outcome at the receiver is ours to settle, not the queue's."""
    row = _claim(delivery_id)
    if row is None:
        return
    started_at = now()
    payload = row["payload"] | {"data": render_views.present(row["payload"]["data"])}
    body = json.dumps(payload, separators=(",", ":")).encode()
    headers = _headers(row, body)
    outcome = sender.send(row["url"], body, headers, allow_local=settings().webhooks_allow_local)
    status, delay = _next(row, outcome)
    settled = _settle(row, outcome, status, delay, _record(row, outcome, headers, started_at))
    log.event(
        "delivery",
        deliveryId=delivery_id,
        webhookId=row["webhook_id"],
        eventType=row["event_type"],
        attempt=row["attempts"] + 1,
        outcome=settled["status"] if settled else "lost its lease",
        statusCode=outcome.status_code,
        errorClass=outcome.error_class,
        ms=outcome.duration_ms,
        nextInS=delay and round(delay, 1),
    )


def _claim(delivery_id: UUID) -> Row | None:
    """The delivery, claimed; None when there is nothing to do now. What is taken or crowded comes back later."""
    with db.transaction() as conn:
        row = dal.claim(conn, delivery_id, lease_s=LEASE_S, in_flight=IN_FLIGHT, in_flight_failing=IN_FLIGHT_FAILING)
        if row is None or row["claimed"]:
            return row
        if row["lease_until"]:
            # The worker that has it may die: come back when its lease has ended.
            due_at = row["lease_until"]
            conn.after_commit(
                lambda: events.enqueue(row | {"generation": f"lease-{due_at.timestamp()}", "due_at": due_at})
            )
            return None
        due_at = now() + timedelta(seconds=random.uniform(*CROWDED_S))  # noqa: S311 - jitter
        postponed = dal.postpone(conn, delivery_id, due_at)
        if postponed:
            conn.after_commit(lambda: events.enqueue(postponed | {"due_at": due_at}))
        return None


def _headers(row: Row, body: bytes) -> dict[str, str]:
    """Signed by every secret that is valid now, with the time of this attempt."""
    keys = settings().webhook_secret_keys
    valid = [secrets.open_(sealed, keys) for sealed in (row["secret"], row["previous_secret"]) if sealed]
    return signing.headers(valid, str(row["event_id"]), int(now().timestamp()), body)


def _next(row: Row, outcome: Outcome) -> tuple[str, float | None]:
    """The delivery's next status and, when it is tried again, in how many seconds."""
    if outcome.ok:
        return "succeeded", None
    if outcome.error_class == "gone":
        return "dead", None
    done = row["scheduled"] + (row["trigger"] == "schedule")
    delay = schedule.next_delay(done, outcome.retry_after)
    return ("dead", None) if delay is None else ("pending", delay)


def _settle(row: Row, outcome: Outcome, status: str, delay: float | None, record: dict[str, Any]) -> Row | None:
    """Record the attempt and what follows from it, in one transaction."""
    due_at = None if delay is None else now() + timedelta(seconds=delay)
    with db.transaction() as conn:
        settled = dal.settle(
            conn,
            row["id"],
            row["generation"],
            status=status,
            due_at=due_at,
            advance=int(row["trigger"] == "schedule"),
            attempt=record,
        )
        if settled is None:
            return None
        reason = _hopeless(settled, outcome)
        if reason and settled["active"]:
            webhooks_dal.disable(conn, settled["webhook_id"], reason)
            log.event("webhook_disabled", webhookId=settled["webhook_id"], reason=reason)
        elif settled["status"] == "pending":
            conn.after_commit(lambda: events.enqueue(settled))
    if settled["status"] == "dead":
        log.event("delivery_dead", deliveryId=row["id"], webhookId=row["webhook_id"], errorClass=outcome.error_class)
    return settled


def _hopeless(settled: Row, outcome: Outcome) -> str | None:
    """Why nothing more is sent to a webhook, in words for its owner."""
    if outcome.error_class == "gone":
        return "The receiver answered 410 Gone, which asks for no more deliveries."
    if settled["hopeless"]:
        return (
            f"No delivery has succeeded since {settled['failing_since']:%Y-%m-%d %H:%M} UTC"
            f" ({settled['failures_in_row']} failures in a row); the last error: {settled['last_error']}"
        )
    return None


def _record(row: Row, outcome: Outcome, headers: dict[str, str], started_at: Any) -> dict[str, Any]:
    """The attempt as it is logged: no signature, and text that the database can hold."""
    timings = outcome.timings
    return {
        "trigger": row["trigger"],
        "started_at": started_at,
        "duration_ms": outcome.duration_ms,
        "timings": json.dumps(
            {
                "dnsMs": timings.dns_ms,
                "connectMs": timings.connect_ms,
                "tlsMs": timings.tls_ms,
                "firstByteMs": timings.first_byte_ms,
            }
        ),
        "remote_address": outcome.remote_address,
        "status_code": outcome.status_code,
        "error_class": outcome.error_class,
        "error": outcome.error,
        "request_headers": json.dumps({**headers, "webhook-signature": "[redacted]"}),
        "response_headers": json.dumps(
            {name: _storable(value) for name, value in dict(outcome.response_headers).items()}
        ),
        "response_body": _storable(outcome.response_body.decode("utf-8", "replace")),
    }


def _storable(text: str) -> str:
    """PostgreSQL's text and jsonb hold no NUL."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
