"""Many things happen to a webhook at once: its bulkhead holds, its counts are right, nothing is left over."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.conftest import ROOT
from tests.deliveries.conftest import paused, purge, until, waiting_tasks
from tests.receiver import Receiver
from tests.support import request
from tools.local.environment import TASKS_ACCOUNT
from tools.local.identity import Issuer

FINAL = {"succeeded", "dead", "skipped", "canceled"}


@pytest.fixture
def run_task(stack):
    """Have a delivery's task run now, as Cloud Tasks would; the answer's status."""
    issuer = Issuer((stack.data / "issuer-key.pem").read_text(), TASKS_ACCOUNT)

    def run(delivery, generation):
        token = {"Authorization": f"Bearer {issuer.mint('renderiq-tasks-deliver-webhook')}"}
        body = {"deliveryId": delivery, "generation": generation}
        return request(stack.base_url, "POST", "/internal/tasks/deliver-webhook", body=body, **token).status

    return run


def row_of(api, delivery):
    (row,) = api.sql(
        "SELECT status, generation, attempts, scheduled, due_at FROM webhook_deliveries WHERE id = :id::uuid",
        id=delivery,
    )
    return row


def some_came_back(api, webhook):
    """Wait until some of what the webhook had no room for has been turned away a second time."""
    turned_away = (
        "SELECT count(*) AS n FROM webhook_deliveries"
        " WHERE webhook_id = :id::uuid AND status = 'pending' AND generation >= 2"
    )
    until(lambda: api.sql(turned_away, id=webhook["id"])[0]["n"], lambda n: n >= 3)


def test_a_burst_never_has_more_than_eight_in_flight(api, receiver, webhook):
    receiver.gate.clear()
    sent = api.send(webhook, 40)
    until(lambda: receiver.now, lambda now: now == 8)
    some_came_back(api, webhook)
    assert receiver.most_at_once == 8
    receiver.gate.set()
    until(lambda: api.statuses(webhook), lambda found: found == {"succeeded": 40})
    assert receiver.most_at_once == 8
    assert len(receiver.taken()) == len(sent)
    (attempts,) = api.sql(
        "SELECT max(attempts) AS most FROM webhook_deliveries WHERE webhook_id = :id::uuid", id=webhook["id"]
    )
    assert attempts["most"] == 1, "waiting spends no attempt"


def test_the_same_task_sent_many_times_at_once_is_one_attempt(api, receiver, webhook, run_task):
    receiver.gate.clear()
    receiver.usual = (500, {"Retry-After": "60"})
    (delivery,) = api.send(webhook)
    receiver.got.get(timeout=60)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: run_task(delivery, 0), range(32))) == {204}
    receiver.gate.set()
    api.wait_for_attempts(delivery, 1)
    assert len(receiver.taken()) == 0


def test_a_worker_that_lost_its_lease_changes_nothing_any_more(api, receiver, webhook, run_task):
    receiver.gate.clear()
    (delivery,) = api.send(webhook)
    receiver.got.get(timeout=60)
    api.sql("UPDATE webhook_deliveries SET lease_until = now() WHERE id = :id::uuid RETURNING id", id=delivery)
    second = threading.Thread(target=run_task, args=(delivery, None))
    second.start()
    receiver.got.get(timeout=60)
    receiver.usual = (500, {})
    receiver.gate.set()
    second.join()
    receiver.usual = (204, {})
    shown = api.wait_for(delivery, "succeeded")
    assert [attempt["statusCode"] for attempt in shown["attemptLog"]] == [500, 204]
    log = api.stack.data / "logs" / "gateway.log"
    told = [line for line in log.read_text().splitlines() if f"deliveryId={delivery}" in line]
    assert sum("lost its lease" in line for line in told) == 1
    assert not any("delivery_dead" in line for line in told), "it is no dead letter"


def test_while_its_last_five_failed_a_webhook_has_one_in_flight(api, receiver, webhook):
    api.sql(
        "UPDATE plugin_webhooks SET failures_in_row = 5, failing_since = now() WHERE id = :id::uuid RETURNING id",
        id=webhook["id"],
    )
    receiver.gate.clear()
    api.send(webhook, 12)
    until(lambda: receiver.now, lambda now: now == 1)
    some_came_back(api, webhook)
    assert receiver.most_at_once == 1
    receiver.gate.set()
    until(lambda: api.statuses(webhook), lambda found: found == {"succeeded": 12})


def test_a_full_webhook_does_not_hold_up_another(api, receiver, webhook):
    healthy = Receiver()
    other = api.register(healthy.url)
    receiver.gate.clear()
    api.send(webhook, 40)
    started = time.monotonic()
    sent = api.send(other, 20)
    for delivery in sent:
        api.wait_for(delivery, "succeeded")
    assert time.monotonic() - started < 10, "the full webhook's attempts last until the gate opens"
    api.call("DELETE", f"/webhooks/{other['id']}")
    healthy.stop()


def test_an_outdated_task_does_not_come_early_but_the_present_one_may(api, receiver, webhook, run_task):
    receiver.usual = (500, {"Retry-After": "2"})
    (delivery,) = api.send(webhook)
    api.wait_for_attempts(delivery, 1)
    row = row_of(api, delivery)
    receiver.taken()
    for outdated in (0, row["generation"] - 1, None):
        assert run_task(delivery, outdated) == 204
    assert receiver.taken() == []
    assert row_of(api, delivery) == row
    assert run_task(delivery, row["generation"]) == 204, "Force run in the console"
    assert len(receiver.taken()) == 1
    assert row_of(api, delivery)["attempts"] == 2


#: Attempts of a webhook that somebody else is making.
OTHERS = """
WITH made AS (
    INSERT INTO webhook_deliveries (account_id, webhook_id, event_id, event_type, payload, status, lease_until, sweep_at)
    SELECT account_id, id, uuidv7(), 'webhook.test', '{}', 'delivering', now() + interval '1 hour', 'infinity'
    FROM plugin_webhooks, generate_series(1, 8) WHERE id = :id::uuid
)
UPDATE plugin_webhooks SET pending = pending + 8 WHERE id = :id RETURNING id
"""
ENDED = """
WITH gone AS (DELETE FROM webhook_deliveries WHERE webhook_id = :id::uuid AND sweep_at = 'infinity')
UPDATE plugin_webhooks SET pending = pending - 8 WHERE id = :id RETURNING id
"""


def at_its_time(api, delivery):
    """Whether a task of the delivery's present generation waits for the time it is due."""
    row = row_of(api, delivery)
    found = [(generation, when) for _, generation, when in waiting_tasks(api.stack, delivery)]
    return any(
        generation == row["generation"] and abs(when - row["due_at"]) < timedelta(seconds=1)
        for generation, when in found
    )


def test_the_next_attempt_of_a_failed_delivery_waits_in_its_queue(api, receiver, webhook, run_task):
    receiver.usual = (500, {})
    with paused(api.stack):
        (delivery,) = api.send(webhook)
        assert run_task(delivery, 0) == 204
        assert row_of(api, delivery)["attempts"] == 1
        assert at_its_time(api, delivery), "in the queue's console, it may be forced to run"
        purge(api.stack)


def test_what_finds_no_room_waits_in_its_queue(api, receiver, webhook, run_task):
    with paused(api.stack):
        (delivery,) = api.send(webhook)
        api.sql(OTHERS, id=webhook["id"])
        assert run_task(delivery, 0) == 204
        row = row_of(api, delivery)
        api.sql(ENDED, id=webhook["id"])
        assert (row["status"], row["attempts"], row["generation"]) == ("pending", 0, 1)
        assert at_its_time(api, delivery)
        assert receiver.taken() == []
        purge(api.stack)


def test_a_task_that_finds_its_delivery_taken_comes_back_when_the_lease_ends(api, receiver, webhook, run_task):
    receiver.gate.clear()
    (delivery,) = api.send(webhook)
    receiver.got.get(timeout=60)
    assert run_task(delivery, None) == 204
    (lease,) = api.sql("SELECT lease_until FROM webhook_deliveries WHERE id = :id::uuid", id=delivery)
    times = [when for _, _, when in waiting_tasks(api.stack, delivery)]
    assert any(abs(when - lease["lease_until"]) < timedelta(seconds=1) for when in times)
    receiver.gate.set()
    api.wait_for(delivery, "succeeded")


ATTEMPT = (
    "import sys; from uuid import UUID; from common.domain import delivery_task as t; t.attempt(UUID(sys.argv[1]), 0)"
)


def test_a_worker_that_is_not_on_a_laptop_sends_nothing_to_its_own_machine(api, receiver, webhook):
    environment = json.loads((api.stack.data / "environment.json").read_text())
    del environment["WEBHOOKS_ALLOW_LOCAL"]
    with paused(api.stack):
        (delivery,) = api.send(webhook)
        subprocess.run([sys.executable, "-c", ATTEMPT, delivery], cwd=ROOT, env=os.environ | environment, check=True)
        assert api.delivery(delivery)["lastErrorClass"] == "address_not_allowed"
        assert receiver.taken() == []
        purge(api.stack)


def test_a_webhooks_deliveries_share_a_queue(api, webhook):
    with paused(api.stack):
        queues = {queue for sent in api.send(webhook, 12) for queue, *_ in waiting_tasks(api.stack, sent)}
        assert len(queues) == 1
        purge(api.stack)


def test_whatever_happens_at_once_every_delivery_ends_and_the_counts_are_right(api, receiver):
    """The invariant is checked by the fixture, too: the counts kept are those counted."""
    hooks = [api.register(receiver.url) for _ in range(3)]
    receiver.next_answer = lambda: random.choice([(204, {}), (204, {}), (500, {}), (503, {"Retry-After": "1"})])
    over = threading.Event()
    sent, problems, done = [], [], Counter()

    def keep(number, action):
        while not over.is_set():
            answer = action(random.choice(hooks))
            done[number] += 1
            if answer.status >= 500 or answer.status == 422:
                problems.append(answer.body)

    def send(hook):
        answer = api.call("POST", f"/webhooks/{hook['id']}/test")
        if answer.status == 202:
            sent.append(answer.json["deliveryId"])
        return answer

    actions = [
        send,
        send,
        send,
        lambda hook: api.patch(hook, status=random.choice(["active", "active", "disabled"])),
        lambda hook: api.recover(hook),
        lambda hook: api.call("POST", f"/deliveries/{random.choice(sent or [hook['id']])}/retry"),
        lambda hook: api.call("POST", f"/webhooks/{hook['id']}/rotate-secret", {}),
        lambda hook: api.call("GET", f"/webhooks/{hook['id']}/stats"),
    ]
    threads = [threading.Thread(target=keep, args=action) for action in enumerate(actions)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: min(len(sent), *(3 * done[number] for number in range(len(actions)))), lambda n: n >= 200)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert problems == []
    api.patch(hooks[0], status="disabled")
    api.call("DELETE", f"/webhooks/{hooks[1]['id']}")
    api.patch(hooks[2], status="active")
    for hook in hooks:
        until(lambda hook=hook: api.statuses(hook).keys(), lambda found: found <= FINAL)
    ended = api.sql(
        "SELECT count(*) AS n FROM webhook_deliveries WHERE id = ANY (:ids::uuid[]) AND completed_at IS NOT NULL"
        " AND due_at IS NULL AND lease_until IS NULL",
        ids=sent,
    )
    assert ended[0]["n"] == len(sent)
    gaps = api.sql(
        "SELECT d.id FROM webhook_deliveries d LEFT JOIN webhook_attempts a ON a.delivery_id = d.id"
        " WHERE d.id = ANY (:ids::uuid[]) GROUP BY d.id HAVING d.attempts <> count(a.number)",
        ids=sent,
    )
    assert gaps == [], "every finished attempt is logged once"
    for hook in hooks:
        api.call("DELETE", f"/webhooks/{hook['id']}")
