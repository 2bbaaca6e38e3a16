"""Webhooks and what they deliver, on the wire."""

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from common.schemas.base import Moment, Request, Response, Text, Time

Event = Literal["render.completed", "render.failed", "render.canceled", "webhook.test"]
Status = Literal["active", "disabled", "failing"]
Url = Annotated[Text, Field(min_length=1, max_length=2048)]
Events = Annotated[list[Event], Field(min_length=1, max_length=20)]
Description = Annotated[Text, Field(max_length=500)]


def _left_out() -> Any:
    """The default of what a PATCH may leave out but not set to null: no default stands in the schema."""
    return None


class RegisterWebhook(Request):
    """Where to send which events."""

    url: Url
    events: Events
    description: Description | None = None


class RegisteredWebhook(Response):
    """A new webhook; `secret` is shown here and by rotation only."""

    no_store: ClassVar[bool] = True

    id: UUID
    url: str
    events: list[str]
    description: str | None
    status: Status
    secret: Annotated[str, Field(repr=False)]
    created_at: Time


class Counts(Response):
    """A webhook's deliveries by how they ended; `failed` are the dead ones."""

    succeeded: int
    failed: int
    pending: int


class Webhook(Response):
    """A webhook without its secret. `failing` and its reason are set by us."""

    id: UUID
    url: str
    events: list[str]
    description: str | None
    status: Status
    disabled_at: Time | None
    disabled_reason: str | None
    counts: Counts
    last_delivery_at: Time | None
    created_at: Time


class UpdateWebhook(Request):
    """What to change; what is left out stays. `active` sends again, also to what failed; null ends a description."""

    url: Url = Field(default_factory=_left_out)
    events: Events = Field(default_factory=_left_out)
    description: Description | None = None
    status: Literal["active", "disabled"] = Field(default_factory=_left_out)


class RotateWebhookSecret(Request):
    """How long the secrets before the new one sign too; 0 ends them at once."""

    overlap_seconds: Annotated[int, Field(ge=0, le=604_800)] = 86_400


class RotatedWebhookSecret(Response):
    """The new secret, shown here only, and until when the older ones sign beside it."""

    no_store: ClassVar[bool] = True

    id: Annotated[UUID, Field(exclude=True)]
    secret: Annotated[str, Field(repr=False)]
    previous_valid_until: Time


class StartedTest(Response):
    """A `webhook.test` event is on its way."""

    id: Annotated[UUID, Field(alias="deliveryId")]


class RecoverWebhook(Request):
    """Which deliveries, by when they were made, to attempt again; `since` is included, `until` is not."""

    since: Moment
    until: Moment | None = None
    statuses: Annotated[tuple[Literal["dead", "skipped"], ...], Field(min_length=1, max_length=2)] = ("dead", "skipped")
    dry_run: bool = False


class Recovery(Response):
    """How many deliveries matched, and how many of them are (or, of a great many, within minutes will be) pending."""

    id: Annotated[UUID, Field(exclude=True)]
    matched: int
    enqueued: int


class StatsQuery(Request):
    """The window that ends now."""

    window: Literal["1h", "24h", "7d", "30d"] = "24h"


class Latency(Response):
    """Percentiles of how long an attempt took, in milliseconds; null without attempts."""

    p50: int | None
    p95: int | None
    p99: int | None


class FailureCount(Response):
    """How many attempts failed in one way."""

    error_class: str
    count: int


class Bucket(Response):
    """The attempts that began in one part of the window, by how they ended."""

    start: Time
    succeeded: int
    failed: int


class WebhookStats(Response):
    """A webhook's window: 60 minutes, 24 hours, 28 quarters of a day or 30 days, UTC, the last of them not over.

    `total`, `succeeded`, `dead`, `pending` (those being delivered included) and `skipped` are deliveries made in the
    window; `successRate` is of those that succeeded or died. `attempts`, `latencyMs`, `failures` and `buckets` are
    attempts begun in the window.
    """

    window: str
    total: int
    succeeded: int
    dead: int
    pending: int
    skipped: int
    attempts: int
    success_rate: float | None
    latency_ms: Latency
    failures: list[FailureCount]
    buckets: list[Bucket]
