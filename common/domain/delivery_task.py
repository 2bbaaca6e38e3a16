"""One attempt of a delivery: claim, send, settle. No transaction is open while it is sent.

Delivery is at least once: a worker that dies after sending is followed by another, under the same `webhook-id`.
"""

import json
import logging
import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from common import db, log
from common.clock import now
from common.config import settings
from common.dal import delivery_work as dal
from common.db import Connection, Row
from common.domain import audit, events, render_views, webhooks
from common.webhooks import schedule, secrets, sender, signing
from common.webhooks.sender import Outcome

#: Above the sender's deadline of 15 s.
LEASE_S = 30
#: The bulkhead: how many attempts of one webhook are made at once; fewer while one of its last five took `slow_ms`,
#: one while they all failed.
IN_FLIGHT = 8
BULKHEAD = {"in_flight": IN_FLIGHT, "in_flight_slow": 2, "in_flight_failing": 1, "slow_ms": 5000}
#: How long a delivery waits when its webhook has enough in flight: drawn evenly between the first and the second, or
#: longer the more are pending, so that a long line comes back at a rate a second that its webhook may get through.
CROWDED_S, CROWDED_AT_MOST_S = (1.0, 5.0), 600.0
RETURNS_PER_S, RETURNS_PER_S_SLOW = 100.0, 5.0
#: How long a delivery waits for the key of its webhook's secret, which an operator has to bring.
SEALED_S = (120.0, 300.0)
SECRET_HEADERS = ("cookie", "authorization", "secret", "token", "signature", "api-key", "apikey", "password")
REDACTED = "[redacted]"


def attempt(delivery_id: UUID, generation: int | None) -> None:
    """Attempt a delivery whose task has come. Every outcome at the receiver is ours to settle, not the queue's."""
    row = _claim(delivery_id, generation)
    if row is None:
        return
    started_at = now()
    payload = row["payload"] | {"data": render_views.present(row["payload"]["data"])}
    body = json.dumps(payload, separators=(",", ":")).encode()
    headers = _headers(row, body)
    outcome = sender.send(row["url"], body, headers, allow_local=settings().webhooks_allow_local)
    status, delay = _next(row, outcome)
    settled = _settle(row, outcome, status, delay, _record(row, outcome, headers, started_at))
    _tell(row, outcome, settled, delay)


def _claim(delivery_id: UUID, generation: int | None) -> Row | None:
    """The delivery, claimed; None when there is nothing to do now. What cannot be attempted now comes back later."""

    def claim(conn: Connection) -> Row | None:
        room = dal.lock_webhook(conn, delivery_id, **BULKHEAD) or {"locked": False, "allowed": IN_FLIGHT}
        failing = BULKHEAD["in_flight_failing"]
        row = dal.claim(conn, delivery_id, generation, lease_s=LEASE_S, in_flight_failing=failing, **room)
        if row and not row["claimed"]:
            _come_back(conn, row, room["allowed"])
        return row | {"secrets": _opened(row)} if row and row["claimed"] else None

    try:
        return db.in_transaction(claim)
    except secrets.SealedError:
        _wait_for_key(delivery_id)
        return None


def _opened(row: Row) -> list[str]:
    """Every secret that is valid now. SealedError when one of them cannot be told: it may be the receiver's."""
    keys = settings().webhook_secret_keys
    return [secrets.open_(sealed, keys) for sealed in row["secrets"]]


def _wait_for_key(delivery_id: UUID) -> None:
    """Nothing can be signed: the claim is undone. It is no failure of the receiver's, nor one to slow the queue for."""
    seconds = random.uniform(*SEALED_S)  # noqa: S311 - jitter
    postponed = db.in_transaction(lambda conn: _postpone(conn, delivery_id, seconds))
    if postponed:
        told = {"deliveryId": delivery_id, "webhookId": postponed["webhook_id"]}
        log.event("webhook_secret_sealed", level=logging.ERROR, **told)


def _come_back(conn: Connection, row: Row, allowed: int) -> None:
    """Try again later, without spending an attempt."""
    if row["lease_until"]:
        # The worker that has it may die: come back when its lease has ended.
        back = {"due_at": row["lease_until"], "reason": f"lease {row['lease_until'].timestamp()}"}
        events.enqueue_after_commit(conn, row | back)
        return
    _postpone(conn, row["id"], _crowded_for(row["pending"], allowed))


def _postpone(conn: Connection, delivery_id: UUID, seconds: float) -> Row | None:
    """Try again in `seconds`; None when somebody has taken it meanwhile."""
    due_at = now() + timedelta(seconds=seconds)
    postponed = dal.postpone(conn, delivery_id, due_at)
    if postponed:
        events.enqueue_after_commit(conn, postponed | {"due_at": due_at})
    return postponed


def _crowded_for(pending: int, allowed: int) -> float:
    """Seconds until a delivery of a webhook that has `pending` ones and `allowed` at once tries again to get in."""
    shortest, longest = CROWDED_S
    rate = RETURNS_PER_S if allowed == IN_FLIGHT else RETURNS_PER_S_SLOW
    line = min(max(longest, pending / rate), CROWDED_AT_MOST_S)
    return random.uniform(shortest, line)  # noqa: S311 - jitter


def _headers(row: Row, body: bytes) -> dict[str, str]:
    """Signed by every secret that is valid now, with the time of this attempt."""
    return signing.headers(row["secrets"], str(row["event_id"]), int(now().timestamp()), body)


def _next(row: Row, outcome: Outcome) -> tuple[str, float | None]:
    """The delivery's next status and, when it is tried again, in how many seconds."""
    if outcome.ok:
        return "succeeded", None
    if outcome.error_class == "gone":
        return "dead", None
    delay = schedule.next_delay(
        row["scheduled"] + _advance(row),
        outcome.retry_after,
        settings().webhook_retry_delays,
        elapsed=(now() - row["began_at"]).total_seconds(),
    )
    return ("dead", None) if delay is None else ("pending", delay)


def _advance(row: Row) -> int:
    """How far this attempt moves the schedule: one by hand not at all, the first of a recovery begins a new one."""
    return int(row["trigger"] != "manual")


def _settle(row: Row, outcome: Outcome, status: str, delay: float | None, record: dict[str, Any]) -> Row | None:
    """Record the attempt and what follows from it, in one transaction."""
    due_at = None if delay is None else now() + timedelta(seconds=delay)

    def settle(conn: Connection) -> Row | None:
        settled = dal.settle(
            conn, row["id"], row["generation"], status=status, due_at=due_at, advance=_advance(row), attempt=record
        )
        if settled:
            _follow(conn, settled, outcome)
        return settled

    return db.in_transaction(settle)


def _follow(conn: Connection, settled: Row, outcome: Outcome) -> None:
    """What a settled attempt leads to: the webhook's end, or the next attempt."""
    reason = _hopeless(settled, outcome)
    if reason and settled["active"]:
        webhooks.stop(conn, settled["webhook_id"], "failing", reason)
        audit.by_service(conn, settled["account_id"], "webhook.disabled", settled["webhook_id"], reason=reason)
        told = {"webhookId": settled["webhook_id"], "reason": reason}
        conn.after_commit(lambda: log.event("webhook_disabled", level=logging.WARNING, **told))
    elif settled["status"] == "pending":
        events.enqueue_after_commit(conn, settled)


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


def _record(row: Row, outcome: Outcome, headers: dict[str, str], started_at: datetime) -> dict[str, Any]:
    """The attempt as it is logged: no secret, no signature, and text that the database can hold."""
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
        "error": outcome.error and _storable(outcome.error),
        "request_headers": json.dumps(_redacted(headers)),
        "response_headers": json.dumps(_redacted(outcome.response_headers)),
        "response_body": _storable(outcome.response_body.decode("utf-8", "replace")),
    }


def _redacted(headers: dict[str, str]) -> dict[str, str]:
    return {
        _storable(name): REDACTED if any(word in name.lower() for word in SECRET_HEADERS) else _storable(value)
        for name, value in headers.items()
    }


def _storable(text: str) -> str:
    """PostgreSQL's text and jsonb hold no NUL, and UTF-8 no lone surrogate."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _tell(row: Row, outcome: Outcome, settled: Row | None, delay: float | None) -> None:
    """One line an attempt, and one for a delivery that is given up."""
    told = {
        "deliveryId": row["id"],
        "webhookId": row["webhook_id"],
        "eventType": row["event_type"],
        "attempt": row["attempts"] + 1,
        "statusCode": outcome.status_code,
        "errorClass": outcome.error_class,
    }
    status = settled["status"] if settled else "lost its lease"
    log.event(
        "delivery",
        **told,
        trigger=row["trigger"],
        outcome=status,
        ms=outcome.duration_ms,
        nextInS=round(delay, 1) if delay and status == "pending" else None,
    )
    if status == "dead":
        log.event("delivery_dead", level=logging.WARNING, **told, error=outcome.error)
