"""What could not be delivered: found, looked at, tried again, recovered by the thousand."""

from uuid import uuid4

import pytest

from tests.deliveries.conftest import paused, purge, until

#: Deliveries that were skipped, as many as are wanted.
SKIPPED = """
INSERT INTO webhook_deliveries (account_id, webhook_id, event_id, event_type, payload, status, completed_at)
SELECT account_id, id, uuidv7(), 'webhook.test',
       '{"type": "webhook.test", "timestamp": "2026-01-31T12:00:00Z", "data": {}}', 'skipped', now()
FROM plugin_webhooks, generate_series(1, :n::int) WHERE id = :id::uuid RETURNING id
"""
#: A delivery that was given up after its three attempts.
DEAD = """
WITH made AS (
    INSERT INTO webhook_deliveries (account_id, webhook_id, event_id, event_type, payload, status, attempts, scheduled,
                                    last_status_code, last_error_class, completed_at)
    SELECT account_id, id, uuidv7(), 'webhook.test',
           '{"type": "webhook.test", "timestamp": "2026-01-31T12:00:00Z", "data": {}}', 'dead', 3, 3, 500, 'http_5xx',
           now()
    FROM plugin_webhooks WHERE id = :id::uuid RETURNING id, webhook_id
),
logged AS (
    INSERT INTO webhook_attempts (delivery_id, webhook_id, number, trigger, started_at, duration_ms, timings,
                                  status_code, error_class, error, request_headers, response_headers, response_body)
    SELECT id, webhook_id, n, 'schedule', now(), 1,
           '{"dnsMs": 0, "connectMs": 0, "tlsMs": null, "firstByteMs": 1}', 500, 'http_5xx', 'an error', '{}', '{}', ''
    FROM made, generate_series(1, 3) n
)
UPDATE plugin_webhooks SET dead = dead + 1 WHERE id = :id RETURNING (SELECT id FROM made) AS id
"""


def dead(api, webhook):
    """A delivery that was given up."""
    return str(api.sql(DEAD, id=webhook["id"])[0]["id"])


def retry(api, delivery, **headers):
    return api.call("POST", f"/deliveries/{delivery}/retry", **headers)


def listed(api, webhook, **filters):
    query = "".join(f"&{name}={value}" for name, value in filters.items())
    return api.call("GET", f"/deliveries?webhookId={webhook['id']}{query}").json["items"]


def test_a_delivery_is_dead_after_its_last_attempt_and_logged(api, receiver, webhook):
    receiver.usual = (500, {})
    (delivery,) = api.send(webhook)
    shown = api.wait_for(delivery, "dead")
    assert (shown["status"], shown["attempts"], shown["lastErrorClass"]) == ("dead", 3, "http_5xx")
    assert (shown["nextAttemptAt"], shown["lastStatusCode"]) == (None, 500)
    assert shown["completedAt"]
    assert [item["id"] for item in listed(api, webhook, status="dead")] == [delivery]
    assert api.show(webhook)["counts"] == {"succeeded": 0, "failed": 1, "pending": 0}
    log = (api.stack.data / "logs" / "gateway.log").read_text()
    lines = [line for line in log.splitlines() if delivery in line and " delivery" in line]
    assert [line.split()[2] for line in lines] == ["delivery", "delivery", "delivery", "delivery_dead"]
    assert "errorClass=http_5xx" in lines[-1]
    assert [field for line in lines for field in line.split() if field.startswith("attempt=")] == [
        f"attempt={number}" for number in (1, 2, 3, 3)
    ]


def test_a_dead_delivery_is_tried_again_by_hand(api, receiver, webhook):
    delivery = dead(api, webhook)
    answer = retry(api, delivery)
    assert answer.status == 202
    assert answer.json.keys() == listed(api, webhook)[0].keys()
    assert (answer.json["id"], answer.json["status"], answer.json["completedAt"]) == (delivery, "pending", None)
    shown = api.wait_for(delivery, "succeeded")
    assert [attempt["trigger"] for attempt in shown["attemptLog"]] == [*["schedule"] * 3, "manual"]
    assert api.show(webhook)["counts"] == {"succeeded": 1, "failed": 0, "pending": 0}


def test_a_dead_delivery_that_fails_by_hand_is_dead_again(api, receiver, webhook):
    delivery = dead(api, webhook)
    receiver.usual = (404, {})
    retry(api, delivery)
    api.wait_for_attempts(delivery, 4)
    shown = api.delivery(delivery)
    assert (shown["status"], shown["lastErrorClass"]) == ("dead", "http_4xx")


def test_an_attempt_by_hand_replaces_the_scheduled_one_and_does_not_advance_the_schedule(api, receiver, webhook):
    receiver.answers.put((500, {"Retry-After": "2"}))
    receiver.usual = (500, {})
    (delivery,) = api.send(webhook)
    api.wait_for_attempts(delivery, 1)
    assert retry(api, delivery).status == 202
    shown = api.wait_for(delivery, "dead")
    assert [attempt["trigger"] for attempt in shown["attemptLog"]] == ["schedule", "manual", "schedule", "schedule"]
    assert len(receiver.taken()) == 4


def test_what_is_in_flight_is_not_tried_again_by_hand(api, receiver, webhook):
    receiver.gate.clear()
    (delivery,) = api.send(webhook)
    receiver.got.get(timeout=60)
    refused = retry(api, delivery)
    assert (refused.status, refused.code) == (409, "delivery_in_flight")
    receiver.gate.set()
    api.wait_for(delivery, "succeeded")
    assert retry(api, delivery).status == 202, "what succeeded may be sent again"
    until(lambda: api.delivery(delivery), lambda found: found["attempts"] == 2 and found["status"] == "succeeded")


def test_what_a_dead_worker_had_is_tried_again_by_hand_at_once(api, receiver, webhook):
    receiver.gate.clear()
    (delivery,) = api.send(webhook)
    receiver.got.get(timeout=60)
    api.sql("UPDATE webhook_deliveries SET lease_until = now() WHERE id = :id::uuid RETURNING id", id=delivery)
    assert retry(api, delivery).status == 202
    receiver.got.get(timeout=60)
    receiver.gate.set()
    assert api.wait_for(delivery, "succeeded")["attemptLog"][-1]["trigger"] == "manual"


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_nothing_is_sent_by_hand_to_a_webhook_that_is_not_active(api, receiver, webhook, how):
    delivery = dead(api, webhook)
    if how == "disabled":
        api.patch(webhook, status="disabled")
    else:
        api.call("DELETE", f"/webhooks/{webhook['id']}")
    refused = retry(api, delivery)
    assert (refused.status, refused.code) == (409, "webhook_not_active")
    assert api.delivery(delivery)["status"] == "dead"


def test_a_retry_with_a_key_happens_once(api, receiver, webhook):
    delivery, key = dead(api, webhook), {"Idempotency-Key": str(uuid4())}
    retry(api, delivery, **key)
    api.wait_for(delivery, "succeeded")
    again = retry(api, delivery, **key)
    assert (again.status, again.json["status"]) == (202, "succeeded")
    assert len(receiver.taken()) == 1


def test_dead_and_skipped_deliveries_are_recovered_once(api, receiver, webhook):
    died = dead(api, webhook)
    (skipped,) = (str(row["id"]) for row in api.sql(SKIPPED, id=webhook["id"], n=1))
    assert api.recover(webhook, dryRun=True).json == {"matched": 2, "enqueued": 0}
    assert api.recover(webhook, until="2026-01-02T00:00:00Z").json == {"matched": 0, "enqueued": 0}
    assert api.recover(webhook, statuses=["dead"]).json == {"matched": 1, "enqueued": 1}
    shown = api.wait_for(died, "succeeded")
    assert shown["attemptLog"][-1]["trigger"] == "recover"
    assert api.delivery(skipped)["status"] == "skipped"
    answer = api.recover(webhook)
    assert (answer.status, answer.json) == (202, {"matched": 1, "enqueued": 1})
    api.wait_for(skipped, "succeeded")
    assert api.recover(webhook).json == {"matched": 0, "enqueued": 0}
    assert len(receiver.taken()) == 2


def test_a_recovered_delivery_has_a_whole_schedule_again(api, receiver, webhook):
    delivery = dead(api, webhook)
    receiver.usual = (500, {})
    api.recover(webhook)
    api.wait_for_attempts(delivery, 6)
    shown = api.delivery(delivery)
    assert shown["status"] == "dead"
    assert [attempt["trigger"] for attempt in shown["attemptLog"]][3:] == ["recover", "schedule", "schedule"]


def test_a_recovery_with_a_key_is_answered_alike(api, receiver, webhook):
    api.sql(SKIPPED, id=webhook["id"], n=3)
    key = {"Idempotency-Key": str(uuid4())}
    body = {"since": "2026-01-01T00:00:00Z"}
    first, second = (api.call("POST", f"/webhooks/{webhook['id']}/recover", body, **key) for _ in range(2))
    assert first.json == second.json == {"matched": 3, "enqueued": 3}


@pytest.mark.parametrize(
    "body",
    [
        {"since": None},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"statuses": []},
        {"statuses": ["pending"]},
        {"until": "2026-01-01T00:00:00Z"},
        {"dryRun": "yes"},
    ],
    ids=str,
)
def test_a_recovery_that_cannot_be_is_refused(api, webhook, body):
    refused = api.recover(webhook, **body)
    assert (refused.status, refused.code) == (422, "invalid_request")


def test_more_than_ten_thousand_deliveries_are_all_matched(api, webhook):
    """That so many are put back, each once, is told by `tests/domain/test_recoveries.py`."""
    api.sql(SKIPPED, id=webhook["id"], n=10_500)
    assert api.recover(webhook, dryRun=True).json == {"matched": 10_500, "enqueued": 0}


def test_a_recovery_of_many_goes_on_batch_by_batch(api, stack, webhook):
    """All are put back. That they are then sent is told by the tests of few."""
    api.sql(SKIPPED, id=webhook["id"], n=700)
    with paused(stack):
        assert api.recover(webhook).json == {"matched": 700, "enqueued": 700}
        assert api.statuses(webhook)["pending"] >= 50, "the first ones at once"
        until(lambda: api.statuses(webhook), lambda found: found == {"pending": 700})
        assert api.recover(webhook, dryRun=True).json["matched"] == 0
        api.call("DELETE", f"/webhooks/{webhook['id']}")
        until(lambda: api.statuses(webhook), lambda found: found == {"canceled": 700})
        purge(stack)


def test_a_recovery_ends_with_its_webhook(api, stack, webhook):
    """What it had not put back by then stays skipped."""
    api.sql(SKIPPED, id=webhook["id"], n=700)
    with paused(stack):
        assert api.recover(webhook).json == {"matched": 700, "enqueued": 700}
        api.patch(webhook, status="disabled")
        over = "SELECT bool_and(completed_at IS NOT NULL) AS over FROM webhook_recoveries WHERE webhook_id = :id::uuid"
        until(lambda: api.sql(over, id=webhook["id"])[0]["over"], bool)
        assert api.statuses(webhook) == {"skipped": 700}
        purge(stack)
