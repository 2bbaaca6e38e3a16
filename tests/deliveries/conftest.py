"""A stack of its own whose failed deliveries are tried again soon, and are dead after three attempts."""

import base64
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

import pytest

from tests.conftest import start_stack, stop_stack
from tests.receiver import Receiver
from tests.support import request
from tools.local.environment import DELIVERY_SHARDS, LOCATION

COUNTS = """
SELECT w.id, w.pending, w.succeeded, w.dead,
       count(d.id) FILTER (WHERE d.status IN ('pending', 'delivering')) AS true_pending,
       count(d.id) FILTER (WHERE d.status = 'succeeded') AS true_succeeded,
       count(d.id) FILTER (WHERE d.status = 'dead') AS true_dead
FROM plugin_webhooks w LEFT JOIN webhook_deliveries d ON d.webhook_id = w.id
GROUP BY w.id
"""


class Api:
    """The webhooks of a running stack, and what a test asks of them."""

    def __init__(self, stack):
        self.stack = stack
        self.sql = stack.sql

    def call(self, method, path, body=None, **headers):
        return request(self.stack.base_url, method, path, body=body, X_API_Key=self.stack.api_key, **headers)

    def register(self, url, *events):
        body = {"url": url, "events": list(events or ("render.completed",))}
        return self.call("POST", "/webhooks/register", body).json

    def show(self, webhook):
        return self.call("GET", f"/webhooks/{webhook['id']}").json

    def patch(self, webhook, **changes):
        return self.call("PATCH", f"/webhooks/{webhook['id']}", changes)

    def send(self, webhook, times=1):
        """Publish test events; the deliveries' ids."""
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: self.call("POST", f"/webhooks/{webhook['id']}/test"), range(times)))
        assert {answer.status for answer in answers} == {202}, answers[0].body
        return [answer.json["deliveryId"] for answer in answers]

    def delivery(self, delivery_id):
        return self.call("GET", f"/deliveries/{delivery_id}").json

    def wait_for(self, delivery_id, *statuses):
        """The delivery, once it has one of the statuses."""
        return until(lambda: self.delivery(delivery_id), lambda found: found["status"] in statuses)

    def wait_for_attempts(self, delivery_id, attempts):
        return until(lambda: self.delivery(delivery_id), lambda found: found["attempts"] >= attempts)

    def recover(self, webhook, **body):
        return self.call("POST", f"/webhooks/{webhook['id']}/recover", {"since": "2026-01-01T00:00:00Z"} | body)

    def statuses(self, webhook):
        """How many of the webhook's deliveries have each status."""
        rows = self.sql(
            "SELECT status, count(*) AS n FROM webhook_deliveries WHERE webhook_id = :id::uuid GROUP BY status",
            id=webhook["id"],
        )
        return {row["status"]: row["n"] for row in rows}


DELIVERIES = [f"deliveries-{shard}" for shard in range(DELIVERY_SHARDS)]


@contextmanager
def paused(stack, queues=DELIVERIES):
    """No task of these queues is dispatched meanwhile."""
    _tell(stack, queues, "pause")
    try:
        yield
    finally:
        _tell(stack, queues, "resume")


def purge(stack):
    """Forget all deliveries' tasks."""
    _tell(stack, DELIVERIES, "purge")


def waiting_tasks(stack, delivery):
    """The tasks of a delivery: each one's queue, the generation it is of, and its time."""
    found = []
    for queue in DELIVERIES:
        for task in _ask(stack, "GET", f"{queue}/tasks?responseView=FULL&pageSize=1000").get("tasks", ()):
            body = json.loads(base64.b64decode(task["httpRequest"]["body"]))
            if body["deliveryId"] == delivery:
                found.append((queue, body["generation"], datetime.fromisoformat(task["scheduleTime"])))
    return found


def _tell(stack, queues, verb):
    for queue in queues:
        _ask(stack, "POST", f"{queue}:{verb}", b"{}")


def _ask(stack, method, path, body=None):
    """What the queues answer."""
    conn = http.client.HTTPConnection("127.0.0.1", stack.ports["tasks"], timeout=30)
    try:
        conn.request(method, f"/v2/{LOCATION}/queues/{path}", body, {"Content-Type": "application/json"})
        answer = conn.getresponse()
        assert answer.status == 200
        return json.loads(answer.read() or b"{}")
    finally:
        conn.close()


def until(look, good, timeout=60):
    """What `look` gives once it is `good`."""
    end = time.monotonic() + timeout
    while not good(found := look()):
        if time.monotonic() > end:
            pytest.fail(f"it did not happen: {found}")
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    raised = dict.fromkeys(("USER_RATE_PER_MINUTE", "PLATFORM_RATE_PER_MINUTE"), "1000000")
    running = start_stack(tmp_path_factory.mktemp("deliveries"), WEBHOOK_RETRY_DELAYS_S="1,1", **raised)
    yield running
    stop_stack(running)


@pytest.fixture
def api(stack):
    """What a test calls. When it has ended, the counts of all webhooks are what counting gives."""
    yield Api(stack)
    for row in stack.sql(COUNTS):
        counted = (row["true_pending"], row["true_succeeded"], row["true_dead"])
        assert (row["pending"], row["succeeded"], row["dead"]) == counted, row["id"]


@pytest.fixture
def receiver():
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture
def webhook(api, receiver):
    made = api.register(receiver.url)
    yield made
    receiver.gate.set()
    api.call("DELETE", f"/webhooks/{made['id']}")
