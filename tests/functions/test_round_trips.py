"""How often a request waits for the database, read from its log line."""

import importlib
import re
import time
from uuid import uuid4

import pytest

from tests.deliveries.test_dead_letters import SKIPPED
from tests.functions.creating import BODIES, filled
from tests.functions.test_every_endpoint import PUBLIC_TABLE, TABLE
from tests.support import request

GETS = [row for row in TABLE if row["method"] == "GET" and not row["public"]]
CREATING = [
    row
    for row in PUBLIC_TABLE
    if row["method"] == "POST" and importlib.import_module(f"functions.{row['name']}.main").main.spec.replay
]
RECOVER = {"since": "2026-01-01T00:00:00Z", "statuses": ["skipped"]}
TIMES = 20


def round_trips(stack, call):
    """The last answer of many calls, and the least of them: on each connection the first also prepare statements."""
    ids = [uuid4().hex for _ in range(TIMES)]
    for request_id in ids:
        answer = call(request_id)
    log = stack.data / "logs" / "gateway.log"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        logged = re.findall(r"roundTrips=(\d+) requestId=(\w+)", log.read_text())
        trips = [int(number) for number, request_id in logged if request_id in ids]
        if len(trips) == TIMES:
            return answer, min(trips)
        time.sleep(0.05)
    pytest.fail("not all requests were logged")


@pytest.mark.parametrize("row", GETS, ids=lambda row: row["name"])
def test_a_get_with_an_api_key_waits_for_the_database_at_most_twice(stack, row):
    path, key = re.sub(r"\{\w+\}", str(uuid4()), row["path"]), {"X-API-Key": stack.api_key}
    assert round_trips(stack, lambda each: request(stack.base_url, "GET", path, X_Request_Id=each, **key))[1] == 2


@pytest.fixture(scope="module")
def things(stack, new_account, snapshot_of):
    """Of an account: its key, and what paths and bodies name. Nobody listens at the webhook's URL."""
    _, key = new_account(1000)
    auth = {"X-API-Key": key}
    hook = {"url": "http://127.0.0.1:9/", "events": ["render.failed"]}
    webhook = request(stack.base_url, "POST", "/webhooks/register", body=hook, **auth).json["id"]
    other = request(stack.base_url, "POST", "/keys", body={"name": "k", "scopes": ["keys:read"]}, **auth).json["id"]
    yield {"key": key, "webhookId": webhook, "keyId": other, "uploadId": snapshot_of(key)}
    request(stack.base_url, "DELETE", f"/webhooks/{webhook}", **auth)


@pytest.mark.parametrize("keyed", [True, False], ids=["with an Idempotency-Key", "without"])
@pytest.mark.parametrize("row", CREATING, ids=lambda row: row["name"])
def test_a_creating_post_waits_for_the_database_at_most_eight_times(stack, things, row, keyed):
    skipped = iter([str(made["id"]) for made in stack.sql(SKIPPED, id=things["webhookId"], n=TIMES)])

    def call(word):
        names = things | {"word": word, "deliveryId": next(skipped)}
        path = re.sub(r"\{(\w+)\}", lambda found: names[found[1]], row["path"])
        body = filled((BODIES | {"webhooks_recover": RECOVER}).get(row["name"], {}), names)
        sent = {"X-API-Key": things["key"], "X-Request-Id": word} | ({"Idempotency-Key": word} if keyed else {})
        return request(stack.base_url, "POST", path, body=body, **sent)

    answer, trips = round_trips(stack, call)
    if row["name"] == "renders_create" and not keyed:
        assert answer.code == "idempotency_key_required"
    else:
        assert answer.status < 300, answer.body
    assert trips <= 8
