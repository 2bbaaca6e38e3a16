"""How often a request waits for the database, read from its log line."""

import re
import time
from uuid import uuid4

import pytest

from tests.deliveries.test_dead_letters import SKIPPED
from tests.functions.test_every_endpoint import TABLE
from tests.support import request

GETS = [row for row in TABLE if row["method"] == "GET" and not row["public"]]


def round_trips(stack, method, path, key=None, **options):
    """Of the last of many calls: the first ones prepare their statements on whichever connections they get."""
    for _ in range(20):
        request_id = uuid4().hex
        headers = {"X-Request-Id": request_id, "X-API-Key": key or stack.api_key, "Idempotency-Key": request_id}
        request(stack.base_url, method, path, **headers, **options)
    log = stack.data / "logs" / "gateway.log"
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if found := re.search(rf"roundTrips=(\d+) requestId={request_id}", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    pytest.fail("the request was not logged")


@pytest.mark.parametrize("row", GETS, ids=lambda row: row["name"])
def test_a_get_with_an_api_key_waits_for_the_database_at_most_twice(stack, row):
    path = re.sub(r"\{\w+\}", str(uuid4()), row["path"])
    assert round_trips(stack, "GET", path) == 2


def test_an_order_of_a_render_waits_for_the_database_at_most_eight_times(stack, new_account, snapshot_of):
    _, key = new_account(100)
    body = {"uploadId": snapshot_of(key), "prompt": "a", "quality": "draft"}
    assert round_trips(stack, "POST", "/renders", key, body=body) <= 8


@pytest.mark.parametrize("action", ["test", "rotate-secret", "recover"])
def test_what_is_done_with_a_webhook_waits_for_the_database_at_most_eight_times(stack, action):
    """Nobody listens at the URL: what is sent there only fails."""
    body = {"url": "http://127.0.0.1:9/", "events": ["render.failed"]}
    headers = {"X-API-Key": stack.api_key}
    webhook = request(stack.base_url, "POST", "/webhooks/register", body=body, **headers).json
    stack.sql(SKIPPED, id=webhook["id"], n=20)
    sent = {"recover": {"since": "2026-01-01T00:00:00Z", "statuses": ["skipped"]}}.get(action, {})
    assert round_trips(stack, "POST", f"/webhooks/{webhook['id']}/{action}", body=sent) <= 8
    request(stack.base_url, "DELETE", f"/webhooks/{webhook['id']}", **headers)


def test_a_creating_post_waits_for_the_database_at_most_eight_times(stack):
    body = {"name": "trips", "scopes": ["keys:read"]}
    assert round_trips(stack, "POST", "/keys", body=body) <= 8
