"""What is published is what is documented, or nothing is."""

from uuid import uuid4

import pytest

from common.domain import events
from common.schemas.events import EVENTS

FILE = {"role": "picture", "object": "renders/a.png", "contentType": "image/png", "width": 1, "height": 1}
FILE |= {"bytes": 1, "sha256": "0"}


class Recorded:
    """A connection that publishing never gets to when it must not."""

    def rows(self, *args, **params):
        raise AssertionError("it was published")


def example(event_type):
    (found,) = EVENTS[event_type].model_json_schema()["examples"]
    data = found["data"]
    return data | {"output": output(FILE)} if data.get("output") else data


def output(*files):
    return {"files": list(files), "availableUntil": "2026-05-01T00:00:00Z"}


@pytest.mark.parametrize("event_type", EVENTS)
def test_what_fits_its_model_is_published(event_type):
    with pytest.raises(AssertionError, match="it was published"):
        events.publish(Recorded(), uuid4(), event_type, example(event_type))


@pytest.mark.parametrize(
    ("event_type", "change"),
    [
        ("render.completed", {"status": "failed"}),
        ("render.completed", {"output": None}),
        ("render.completed", {"extra": 1}),
        ("render.completed", {"terminal": False}),
        ("render.completed", {"output": output(FILE | {"width": "wide"})}),
        ("render.failed", {"error": None}),
        ("render.failed", {"output": output(FILE)}),
        ("render.canceled", {"status": "queued"}),
        ("webhook.test", {"webhookId": "mine"}),
        ("webhook.test", {"message": "x" * events.MAX_PAYLOAD_BYTES}),
    ],
    ids=str,
)
def test_what_does_not_fit_is_not(event_type, change):
    with pytest.raises(ValueError):
        events.publish(Recorded(), uuid4(), event_type, example(event_type) | change)


def test_an_unknown_event_is_not_published():
    with pytest.raises(KeyError):
        events.publish(Recorded(), uuid4(), "render.exploded", {})
