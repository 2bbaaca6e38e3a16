"""Deliveries on the wire."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from common.schemas.base import Moment, PageQuery, Request, Response, Time
from common.schemas.webhooks import Event
from common.webhooks.outcome import ErrorClass

Status = Literal["pending", "delivering", "succeeded", "dead", "canceled", "skipped"]
Trigger = Literal["schedule", "manual", "recover"]


class ListDeliveries(PageQuery):
    """A list's filters; `since` is included, `until` is not. `errorClass` is that of the last attempt."""

    webhook_id: UUID | None = None
    status: Status | None = None
    event_type: Event | None = None
    error_class: ErrorClass | None = None
    since: Moment | None = None
    until: Moment | None = None


class Delivery(Response):
    """One event on its way to one webhook. `eventId` is the receiver's `webhook-id`; `attempts` have finished."""

    id: UUID
    webhook_id: UUID
    event_id: UUID
    event_type: str
    status: Status
    attempts: int
    next_attempt_at: Time | None
    last_status_code: int | None
    last_error_class: ErrorClass | None
    created_at: Time
    completed_at: Time | None


class Timings(Response):
    """Milliseconds of each phase; null for one that was not reached."""

    dns_ms: int | None
    connect_ms: int | None
    tls_ms: int | None
    first_byte_ms: int | None


class Attempt(Response):
    """One attempt: `error` and its class are null for a success. Signatures and cookies are redacted."""

    number: int
    trigger: Trigger
    started_at: Time
    duration_ms: int
    timings: Timings
    remote_address: str | None
    #: Not `status_code`, which is what an answer of ours may choose.
    answer: Annotated[int | None, Field(alias="statusCode")]
    error_class: ErrorClass | None
    error: str | None
    request_headers: dict[str, str]
    response_headers: Annotated[dict[str, str], Field(description="At most the first 8 KiB.")]
    response_body: Annotated[str, Field(description="At most the first 16 KiB.")] | None


class ShownDelivery(Delivery):
    """A delivery with its payload and its newest 100 attempts, oldest first.

    The payload has no URLs of files: those are signed when it is sent, for its receiver.
    """

    payload: dict[str, Any]
    attempt_log: list[Attempt]


class DeliverWebhook(Request):
    """The body of a delivery's task. `generation` is the delivery's when the task was made."""

    delivery_id: UUID
    generation: int | None = None
