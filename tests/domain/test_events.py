"""What is published is what is documented, or nothing is."""

from uuid import uuid4

import pytest

from common.dal import events as dal
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


HOOK = """
INSERT INTO plugin_webhooks (account_id, url, events, status, deleted_at)
VALUES (:account_id::uuid, 'https://a.example/', :events::text[], :status::text, :deleted_at::timestamptz)
RETURNING id
"""


def test_an_event_goes_to_every_webhook_of_its_account_that_asked_for_it_and_to_no_other(database):
    owner, stranger = database.account().account_id, database.account().account_id

    def hook(account_id=owner, events=("render.completed",), status="active", deleted_at=None):
        fields = {"account_id": account_id, "events": list(events), "status": status, "deleted_at": deleted_at}
        return database.sql(HOOK, **fields)[0]["id"]

    asked, also, disabled = hook(), hook(events=("render.failed", "render.completed")), hook(status="disabled")
    hook(account_id=stranger), hook(events=("render.failed",)), hook(deleted_at="2026-01-01T00:00:00Z")
    with database.connection() as conn, conn.transaction():
        made = dal.publish(conn, owner, "render.completed", {})
    assert {(row["webhook_id"], row["status"]) for row in made} == {
        (asked, "pending"),
        (also, "pending"),
        (disabled, "skipped"),
    }
    ids = database.sql("SELECT event_id FROM webhook_deliveries WHERE account_id = :id::uuid", id=owner)
    assert len(ids) == 3
    assert len({row["event_id"] for row in ids}) == 1, "one event, told to three"
    counts = database.sql(
        "SELECT id, pending FROM plugin_webhooks WHERE account_id = :id::uuid AND pending > 0", id=owner
    )
    assert {(row["id"], row["pending"]) for row in counts} == {(asked, 1), (also, 1)}
