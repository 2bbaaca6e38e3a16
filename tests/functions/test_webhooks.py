"""Webhooks: registered, delivered, tried again, and given up."""

import json
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.receiver import Receiver
from tests.support import request

SNAPSHOT = Path(__file__).parents[2] / "docs" / "samples" / "room_viewport.png"


@pytest.fixture
def receiver():
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture
def webhook(stack, receiver):
    made = register(stack, receiver.url)
    yield made.json
    request(stack.base_url, "DELETE", f"/webhooks/{made.json['id']}", X_API_Key=stack.api_key)


@pytest.fixture(scope="module")
def upload_id(stack, tmp_path_factory):
    picture = tmp_path_factory.mktemp("webhooks") / "room.png"
    picture.write_bytes(SNAPSHOT.read_bytes())
    return stack.client().upload(picture)["id"]


def register(stack, url, events=("render.completed",)):
    body = {"url": url, "events": list(events)}
    return request(stack.base_url, "POST", "/webhooks/register", body=body, X_API_Key=stack.api_key)


def show(stack, webhook):
    return request(stack.base_url, "GET", f"/webhooks/{webhook['id']}", X_API_Key=stack.api_key).json


def complete_a_render(stack, upload_id):
    """Cause one event."""
    client = stack.client()
    return client.wait(client.render(upload_id, "a room", quality="draft")["id"])


def deliveries(stack, webhook):
    return stack.sql(
        "SELECT id, status, attempts, last_status_code, last_error_class FROM webhook_deliveries"
        " WHERE webhook_id = :id::uuid ORDER BY id",
        id=webhook["id"],
    )


def settled(stack, webhook, timeout=30):
    """The webhook's only delivery, once it is settled."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        (found,) = deliveries(stack, webhook) or [{"status": "pending"}]
        if found["status"] not in ("pending", "delivering"):
            return found
        time.sleep(0.05)
    pytest.fail(f"not settled: {found}")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/hook",
        "https://user:password@example.com/",
        "https://example.com:22/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://example.com./",
        "https://example.com/#fragment",
        "ftp://example.com/",
        "nonsense",
    ],
)
def test_a_url_that_nothing_may_be_sent_to_is_refused(stack, url):
    refused = register(stack, url)
    assert (refused.status, refused.code) == (422, "url_not_allowed")
    assert refused.json["errors"][0]["field"] == "url"


@pytest.mark.parametrize(
    "fields",
    [
        {"events": []},
        {"events": ["render.failed"] * 21},
        {"description": "x" * 501},
        {"url": "https://a.example/" + "x" * 2048},
    ],
    ids=["no events", "many events", "long description", "long url"],
)
def test_a_webhook_that_cannot_be_is_refused(stack, fields):
    body = {"url": "https://example.com/", "events": ["render.failed"], "description": "x" * 500} | fields
    refused = request(stack.base_url, "POST", "/webhooks/register", body=body, X_API_Key=stack.api_key)
    assert refused.code == "invalid_request"


def test_an_event_that_is_asked_for_twice_is_one(stack, receiver):
    made = register(stack, receiver.url, ["render.failed", "render.completed", "render.failed"]).json
    assert made["events"] == ["render.completed", "render.failed"]
    request(stack.base_url, "DELETE", f"/webhooks/{made['id']}", X_API_Key=stack.api_key)


def test_an_unknown_event_is_refused(stack, receiver):
    assert register(stack, receiver.url, ["render.exploded"]).code == "invalid_request"


def test_the_secret_is_shown_once(stack, webhook):
    assert webhook["secret"].startswith("whsec_")
    for path in (f"/webhooks/{webhook['id']}", "/webhooks"):
        answer = request(stack.base_url, "GET", path, X_API_Key=stack.api_key)
        assert b"whsec_" not in answer.body
        assert webhook["id"].encode() in answer.body


def test_a_delivery_is_signed_and_counted(stack, receiver, webhook, upload_id):
    render = complete_a_render(stack, upload_id)
    _, headers, body = receiver.got.get(timeout=60)
    event = Webhook(webhook["secret"]).verify(body, headers)
    assert event["data"]["id"] == render["id"]
    lower = {name.lower(): value for name, value in headers.items()}
    assert (lower["content-type"], lower["user-agent"]) == ("application/json", "Renderiq-Webhooks/1.0")
    assert settled(stack, webhook)["status"] == "succeeded"
    assert show(stack, webhook)["counts"] == {"succeeded": 1, "failed": 0, "pending": 0}


def test_a_failed_delivery_is_tried_again_under_the_same_id_with_a_fresh_signature(stack, receiver, webhook, upload_id):
    receiver.answers.put((500, {}))
    complete_a_render(stack, upload_id)
    first, one, _ = receiver.got.get(timeout=60)
    second, two, body = receiver.got.get(timeout=20)
    assert 3.9 <= second - first <= 8
    assert one["webhook-id"] == two["webhook-id"]
    assert int(two["webhook-timestamp"]) > int(one["webhook-timestamp"])
    Webhook(webhook["secret"]).verify(body, two)
    found = settled(stack, webhook)
    assert (found["status"], found["attempts"], found["last_status_code"]) == ("succeeded", 2, 204)
    log = stack.sql(
        "SELECT number, status_code, error_class, request_headers FROM webhook_attempts"
        " WHERE delivery_id = :id::uuid ORDER BY number",
        id=found["id"],
    )
    assert [(row["number"], row["status_code"], row["error_class"]) for row in log] == [
        (1, 500, "http_5xx"),
        (2, 204, None),
    ]
    assert {row["request_headers"]["webhook-signature"] for row in log} == {"[redacted]"}


def test_a_receiver_that_is_gone_ends_its_webhook_with_a_reason(stack, receiver, webhook, upload_id):
    receiver.answers.put((410, {}))
    complete_a_render(stack, upload_id)
    assert settled(stack, webhook)["last_error_class"] == "gone"
    told = show(stack, webhook)
    assert told["status"] == "failing"
    assert "410" in told["disabledReason"]
    complete_a_render(stack, upload_id)
    assert [row["status"] for row in deliveries(stack, webhook)] == ["dead", "skipped"]


def test_a_redirect_is_a_failure_and_not_followed(stack, receiver, webhook, upload_id):
    receiver.answers.put((302, {"Location": receiver.url + "/elsewhere"}))
    complete_a_render(stack, upload_id)
    receiver.got.get(timeout=60)
    time.sleep(0.5)
    assert receiver.got.empty()
    assert deliveries(stack, webhook)[0]["last_error_class"] == "redirect"


def test_retry_after_is_a_floor(stack, receiver, webhook, upload_id):
    receiver.answers.put((503, {"Retry-After": "8"}))
    complete_a_render(stack, upload_id)
    first, *_ = receiver.got.get(timeout=60)
    second, *_ = receiver.got.get(timeout=20)
    assert second - first >= 7.9


def test_what_a_deleted_webhook_still_was_to_get_is_canceled(stack, receiver, upload_id):
    webhook = register(stack, receiver.url).json
    receiver.answers.put((500, {}))
    complete_a_render(stack, upload_id)
    receiver.got.get(timeout=60)
    end = time.monotonic() + 60
    while deliveries(stack, webhook)[0]["attempts"] == 0 and time.monotonic() < end:
        time.sleep(0.05)
    path = f"/webhooks/{webhook['id']}"
    assert request(stack.base_url, "DELETE", path, X_API_Key=stack.api_key).status == 204
    assert request(stack.base_url, "GET", path, X_API_Key=stack.api_key).code == "not_found"
    assert deliveries(stack, webhook)[0]["status"] == "canceled"
    time.sleep(7)
    assert receiver.got.empty()


def test_the_payload_holds_no_url_where_it_is_stored(stack, receiver, webhook, upload_id):
    complete_a_render(stack, upload_id)
    receiver.got.get(timeout=60)
    stored = stack.sql("SELECT payload FROM webhook_deliveries WHERE webhook_id = :id::uuid", id=webhook["id"])
    assert "X-Goog-Signature" not in json.dumps(stored[0]["payload"])
