"""What a receiver gets: one model an event type, each with its version and an example.

A version changes when a receiver that knew the one before could break; fields may be added within one.
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from common.schemas.base import Response, Time
from common.schemas.renders import Failure, Output, Render

_RENDER: dict[str, Any] = {
    "id": "01a20a21-6171-75c6-a2c9-7e0f599d04e1",
    "status": "succeeded",
    "terminal": True,
    "stage": "succeeded",
    "projectId": None,
    "prompt": "a bright loft with oak floors",
    "style": "photorealistic",
    "quality": "standard",
    "seed": 7,
    "geometryFidelity": 80,
    "engine": {"name": "studio", "version": "1", "ai": False, "deterministic": True},
    "cost": {"quoted": 2, "charged": 2},
    "error": None,
    "metadata": {
        "sourcePlatform": "sketchup",
        "pluginVersion": "1.2.0",
        "userAgent": "Renderiq-Plugin/SketchUp/1.2.0",
        "callbackUrl": "https://hooks.example.com/renderiq",
    },
    "createdAt": "2026-01-31T12:00:00Z",
    "startedAt": "2026-01-31T12:00:01Z",
    "completedAt": "2026-01-31T12:00:09Z",
    "output": {
        "files": [
            {
                "role": "picture",
                "contentType": "image/png",
                "width": 1920,
                "height": 1080,
                "bytes": 2481152,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "url": "https://storage.googleapis.com/renders/01a20a21.png?X-Goog-Signature=...",
                "expiresAt": "2026-01-31T18:00:00Z",
            }
        ],
        "availableUntil": "2026-05-01T12:00:09Z",
    },
}
_UNPAID: dict[str, Any] = {"cost": {"quoted": 2, "charged": 0}, "output": None}


def _documented(event_type: str, data: dict[str, Any], version: int = 1) -> ConfigDict:
    """The schema's title, version and example."""
    example: dict[str, Any] = {"type": event_type, "timestamp": "2026-01-31T12:00:09Z", "data": data}
    return ConfigDict(title=f"{event_type} v{version}", json_schema_extra={"x-version": version, "examples": [example]})


class EventRender(Render):
    """The render as `GET /renders/{renderId}` shows it, and nothing else."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    terminal: Literal[True]


class CompletedRender(EventRender):
    """A render with its files."""

    status: Literal["succeeded"]
    output: Output
    error: None


class FailedRender(EventRender):
    """A render that failed or expired, with the reason."""

    status: Literal["failed", "expired"]
    output: None
    error: Failure


class CanceledRender(EventRender):
    """A render that its owner canceled."""

    status: Literal["canceled"]
    output: None


class Tried(Response):
    """What a test tells."""

    webhook_id: UUID
    message: str


class RenderCompleted(Response):
    """A render succeeded; its files' URLs were signed for this attempt."""

    model_config = _documented("render.completed", _RENDER)

    type: Literal["render.completed"]
    timestamp: Time
    data: CompletedRender


class RenderFailed(Response):
    """A render failed, or expired before it was started; nothing was charged."""

    model_config = _documented(
        "render.failed",
        _RENDER
        | _UNPAID
        | {
            "status": "failed",
            "stage": "failed",
            "error": {"code": "engine_failed", "message": "The engine could not render this.", "retryable": True},
        },
    )

    type: Literal["render.failed"]
    timestamp: Time
    data: FailedRender


class RenderCanceled(Response):
    """A render was canceled; nothing was charged."""

    model_config = _documented("render.canceled", _RENDER | _UNPAID | {"status": "canceled", "stage": "canceled"})

    type: Literal["render.canceled"]
    timestamp: Time
    data: CanceledRender


class WebhookTest(Response):
    """What `POST /webhooks/{webhookId}/test` sends."""

    model_config = _documented(
        "webhook.test",
        {"webhookId": "01a20a21-6171-75c6-a2c9-7e0f599d04e2", "message": "This webhook works."},
    )

    type: Literal["webhook.test"]
    timestamp: Time
    data: Tried


EVENTS: dict[str, type[Response]] = {
    "render.completed": RenderCompleted,
    "render.failed": RenderFailed,
    "render.canceled": RenderCanceled,
    "webhook.test": WebhookTest,
}
