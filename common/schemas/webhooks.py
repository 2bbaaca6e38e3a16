"""Webhooks and what they deliver, on the wire."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from common.schemas.base import Request, Response, Text, Time

Event = Literal["render.completed", "render.failed", "render.canceled", "webhook.test"]
Status = Literal["active", "disabled", "failing"]


class RegisterWebhook(Request):
    """Where to send which events."""

    url: Annotated[Text, Field(min_length=1, max_length=2048)]
    events: Annotated[list[Event], Field(min_length=1, max_length=20)]
    description: Annotated[Text, Field(max_length=500)] | None = None


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


class DeliverWebhook(Request):
    """The body of a delivery's task."""

    delivery_id: Annotated[UUID, Field(strict=False)]
