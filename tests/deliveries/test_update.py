"""Webhooks are changed, disabled, given up, enabled again, and their secrets rotated."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from standardwebhooks import Webhook, WebhookVerificationError

from tests.deliveries.conftest import until


def verifies(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_only_what_is_named_changes(api, webhook):
    before = api.show(webhook)
    assert api.patch(webhook).json == before
    changed = api.patch(webhook, events=["render.failed", "render.failed"], description="for failures")
    assert changed.status == 200
    assert changed.json == before | {"events": ["render.failed"], "description": "for failures"}
    assert api.patch(webhook, description=None).json == before | {"events": ["render.failed"]}
    assert b"whsec_" not in changed.body


@pytest.mark.parametrize(
    "change",
    [{"url": None}, {"events": None}, {"events": []}, {"status": None}, {"status": "failing"}, {"secret": "x"}],
    ids=str,
)
def test_a_change_that_cannot_be_is_refused(api, webhook, change):
    before = api.show(webhook)
    assert (api.patch(webhook, **change).status, api.patch(webhook, **change).code) == (422, "invalid_request")
    assert api.show(webhook) == before


def test_a_url_that_nothing_may_be_sent_to_is_refused(api, webhook):
    refused = api.patch(webhook, url="https://169.254.169.254/", description="not kept")
    assert (refused.status, refused.code) == (422, "url_not_allowed")
    assert api.show(webhook)["description"] is None


def test_what_is_pending_goes_to_the_new_url(api, receiver, webhook):
    receiver.usual = (500, {"Retry-After": "3"})
    (delivery,) = api.send(webhook)
    api.wait_for_attempts(delivery, 1)
    receiver.usual = (204, {})
    api.patch(webhook, url=receiver.url + "/new")
    assert api.wait_for(delivery, "succeeded", "dead")["status"] == "succeeded"


def test_disabling_skips_what_is_pending_and_enabling_lets_it_be_recovered(api, receiver, webhook):
    receiver.usual = (503, {"Retry-After": "2"})
    (pending,) = api.send(webhook)
    api.wait_for_attempts(pending, 1)
    disabled = api.patch(webhook, status="disabled").json
    assert (disabled["status"], disabled["disabledReason"]) == ("disabled", "Disabled by its owner.")
    assert disabled["disabledAt"]
    assert disabled["counts"]["pending"] == 0
    found = api.delivery(pending)
    assert (found["status"], found["nextAttemptAt"]) == ("skipped", None)
    assert api.call("POST", f"/webhooks/{webhook['id']}/test").code == "webhook_not_active"
    assert api.recover(webhook).code == "webhook_not_active"
    assert api.recover(webhook, dryRun=True).json == {"matched": 1, "enqueued": 0}
    again = api.patch(webhook, status="disabled").json
    assert again["disabledAt"] == disabled["disabledAt"]

    receiver.usual = (204, {})
    enabled = api.patch(webhook, status="active").json
    assert (enabled["status"], enabled["disabledAt"], enabled["disabledReason"]) == ("active", None, None)
    assert api.recover(webhook).json == {"matched": 1, "enqueued": 1}
    shown = api.wait_for(pending, "succeeded")
    assert [attempt["trigger"] for attempt in shown["attemptLog"]] == ["schedule", "recover"]


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_a_long_line_of_pending_deliveries_ends_with_its_webhook(api, webhook, how):
    api.sql(
        "WITH made AS (INSERT INTO webhook_deliveries"
        " (account_id, webhook_id, event_id, event_type, payload, due_at, sweep_at)"
        " SELECT account_id, id, uuidv7(), 'webhook.test', '{}', now() + interval '1 day', now() + interval '1 day'"
        " FROM plugin_webhooks, generate_series(1, 6000) WHERE id = :id::uuid)"
        " UPDATE plugin_webhooks SET pending = 6000 WHERE id = :id::uuid RETURNING id",
        id=webhook["id"],
    )
    if how == "disabled":
        assert api.patch(webhook, status="disabled").json["counts"]["pending"] == 1000
    else:
        api.call("DELETE", f"/webhooks/{webhook['id']}")
    ends_as = {"disabled": "skipped", "deleted": "canceled"}[how]
    until(lambda: api.statuses(webhook), lambda found: found == {ends_as: 6000})


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_what_is_in_flight_while_its_webhook_ends_ends_with_it_when_it_fails(api, receiver, webhook, how):
    receiver.gate.clear()
    receiver.usual = (500, {})
    (delivery,) = api.send(webhook)
    receiver.got.get(timeout=60)
    if how == "disabled":
        api.patch(webhook, status="disabled")
    else:
        api.call("DELETE", f"/webhooks/{webhook['id']}")
    receiver.gate.set()
    shown = api.wait_for(delivery, "skipped", "canceled", "pending")
    assert shown["status"] == {"disabled": "skipped", "deleted": "canceled"}[how]
    assert shown["completedAt"]


def test_a_webhook_that_its_owner_disabled_stays_so_when_its_receiver_is_gone(api, receiver, webhook):
    receiver.gate.clear()
    receiver.usual = (410, {})
    (delivery,) = api.send(webhook)
    receiver.got.get(timeout=60)
    disabled = api.patch(webhook, status="disabled").json
    receiver.gate.set()
    api.wait_for(delivery, "dead")
    assert {name: api.show(webhook)[name] for name in ("status", "disabledReason")} == {
        "status": "disabled",
        "disabledReason": disabled["disabledReason"],
    }


def test_a_failing_webhook_that_is_disabled_too_tells_since_when_nothing_was_sent(api, receiver, webhook):
    receiver.usual = (410, {})
    api.send(webhook)
    failing = until(lambda: api.show(webhook), lambda found: found["status"] == "failing")
    disabled = api.patch(webhook, status="disabled").json
    assert (disabled["status"], disabled["disabledReason"]) == ("disabled", "Disabled by its owner.")
    assert disabled["disabledAt"] == failing["disabledAt"]


FAILED = """
UPDATE plugin_webhooks SET failing_since = now() - :since::text::interval, failures_in_row = :n::int, last_error = 'x'
WHERE id = :id::uuid RETURNING id
"""


def test_one_success_ends_a_row_of_failures(api, receiver, webhook):
    api.sql(FAILED, since="121 hours", n=99, id=webhook["id"])
    (delivery,) = api.send(webhook)
    api.wait_for(delivery, "succeeded")
    kept = "SELECT failing_since, failures_in_row, last_error FROM plugin_webhooks WHERE id = :id::uuid"
    assert api.sql(kept, id=webhook["id"]) == [{"failing_since": None, "failures_in_row": 0, "last_error": None}]
    receiver.usual = (500, {})
    (another,) = api.send(webhook)
    api.wait_for_attempts(another, 1)
    assert api.show(webhook)["status"] == "active"


def test_enabling_what_is_active_forgets_no_failure(api, receiver, webhook):
    api.sql(FAILED, since="25 hours", n=99, id=webhook["id"])
    api.patch(webhook, status="active")
    receiver.usual = (500, {})
    api.send(webhook)
    until(lambda: api.show(webhook), lambda found: found["status"] == "failing")


@pytest.mark.parametrize(("since", "failures"), [("25 hours", 99), ("121 hours", 3)], ids=["many", "long"])
def test_a_webhook_that_only_fails_is_given_up_with_a_reason(api, receiver, webhook, since, failures):
    receiver.usual = (502, {})
    api.sql(
        "UPDATE plugin_webhooks SET failing_since = now() - :since::text::interval, failures_in_row = :n::int"
        " WHERE id = :id::uuid RETURNING id",
        since=since,
        n=failures,
        id=webhook["id"],
    )
    (delivery,) = api.send(webhook)
    told = until(lambda: api.show(webhook), lambda found: found["status"] == "failing")
    assert told["disabledReason"].startswith("No delivery has succeeded since 20")
    assert f"({failures + 1} failures in a row)" in told["disabledReason"]
    assert "502" in told["disabledReason"]
    assert api.delivery(delivery)["status"] == "skipped"
    kept = "SELECT details FROM audit_events WHERE target_id = :id::uuid AND action = 'webhook.disabled'"
    assert [row["details"] for row in api.sql(kept, id=webhook["id"])] == [{"reason": told["disabledReason"]}]
    log = (api.stack.data / "logs" / "gateway.log").read_text()
    assert f"webhook_disabled event=webhook_disabled webhookId={webhook['id']}" in log

    receiver.usual = (500, {})
    assert api.patch(webhook, status="active").json["status"] == "active"
    (another,) = api.send(webhook)
    api.wait_for_attempts(another, 1)
    assert api.show(webhook)["status"] == "active", "its old failures are forgotten"


@pytest.mark.parametrize(("since", "failures"), [("25 hours", 98), ("23 hours", 500)], ids=["few", "short"])
def test_a_webhook_that_has_not_failed_enough_goes_on(api, receiver, webhook, since, failures):
    receiver.usual = (502, {})
    api.sql(
        "UPDATE plugin_webhooks SET failing_since = now() - :since::text::interval, failures_in_row = :n::int"
        " WHERE id = :id::uuid RETURNING id",
        since=since,
        n=failures,
        id=webhook["id"],
    )
    (delivery,) = api.send(webhook)
    api.wait_for_attempts(delivery, 1)
    assert api.show(webhook)["status"] == "active"


def rotate(api, webhook, **body):
    answer = api.call("POST", f"/webhooks/{webhook['id']}/rotate-secret", body)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json


def signed_by(api, receiver, webhook, *secrets):
    api.send(webhook)
    _, headers, body = receiver.got.get(timeout=60)
    assert len(headers["webhook-signature"].split()) == sum(verifies(secret, headers, body) for secret in secrets)
    return [verifies(secret, headers, body) for secret in secrets]


def test_secrets_overlap_and_end(api, receiver, webhook):
    first = webhook["secret"]
    second = rotate(api, webhook)
    assert second.keys() == {"secret", "previousValidUntil"}
    overlap = datetime.fromisoformat(second["previousValidUntil"]) - datetime.now(UTC)
    assert timedelta(hours=23) < overlap <= timedelta(hours=24)
    third = rotate(api, webhook, overlapSeconds=3600)
    secrets = (first, second["secret"], third["secret"])
    assert len(set(secrets)) == 3
    assert signed_by(api, receiver, webhook, *secrets) == [True, True, True]
    api.sql(
        "UPDATE plugin_webhook_secrets SET valid_until = now() WHERE id ="
        " (SELECT min(id::text)::uuid FROM plugin_webhook_secrets WHERE webhook_id = :id::uuid) RETURNING id",
        id=webhook["id"],
    )
    assert signed_by(api, receiver, webhook, *secrets) == [False, True, True]
    last = rotate(api, webhook, overlapSeconds=0)["secret"]
    assert signed_by(api, receiver, webhook, *secrets, last) == [False, False, False, True]


def test_a_longer_overlap_does_not_lengthen_an_older_one(api, webhook):
    rotate(api, webhook, overlapSeconds=60)
    rotate(api, webhook, overlapSeconds=6000)
    rows = api.sql(
        "SELECT round(extract(epoch FROM valid_until - now()) / 60)::int AS minutes FROM plugin_webhook_secrets"
        " WHERE webhook_id = :id::uuid ORDER BY id",
        id=webhook["id"],
    )
    assert [row["minutes"] for row in rows] == [1, 100, None]


def test_no_more_secrets_sign_than_a_header_can_hold(api, receiver, webhook):
    for _ in range(9):
        rotate(api, webhook)
    api.send(webhook)
    _, headers, _ = receiver.got.get(timeout=60)
    assert len(headers["webhook-signature"].split()) == 5


def test_a_secret_that_has_ended_takes_no_ones_place(api, receiver, webhook):
    for _ in range(4):
        rotate(api, webhook)
    api.sql(
        "UPDATE plugin_webhook_secrets SET valid_until = now() WHERE webhook_id = :id::uuid AND valid_until IS NOT NULL"
        " AND id <> (SELECT min(id::text)::uuid FROM plugin_webhook_secrets WHERE webhook_id = :id) RETURNING id",
        id=webhook["id"],
    )
    last = rotate(api, webhook)["secret"]
    api.send(webhook)
    _, headers, body = receiver.got.get(timeout=60)
    assert verifies(webhook["secret"], headers, body)
    assert verifies(last, headers, body)


@pytest.mark.parametrize("seconds", [-1, 604801, "1", 1.5, None], ids=repr)
def test_an_overlap_that_cannot_be_is_refused(api, webhook, seconds):
    body = {"overlapSeconds": seconds}
    assert api.call("POST", f"/webhooks/{webhook['id']}/rotate-secret", body).code == "invalid_request"


def test_a_rotation_with_a_key_happens_once_and_its_secret_is_not_shown_again(api, receiver, webhook):
    path, key = f"/webhooks/{webhook['id']}/rotate-secret", {"Idempotency-Key": str(uuid4())}
    secret = api.call("POST", path, {}, **key).json["secret"]
    assert api.call("POST", path, {}, **key).code == "secret_already_shown"
    assert signed_by(api, receiver, webhook, webhook["secret"], secret) == [True, True]


def test_a_test_is_sent_once_for_a_key(api, receiver, webhook):
    path, key = f"/webhooks/{webhook['id']}/test", {"Idempotency-Key": str(uuid4())}
    first, second = (api.call("POST", path, **key) for _ in range(2))
    assert first.json == second.json
    assert second.headers["Idempotency-Replayed"] == "true"
    shown = api.wait_for(first.json["deliveryId"], "succeeded")
    assert shown["payload"]["type"] == shown["eventType"] == "webhook.test"
    assert shown["payload"]["data"]["webhookId"] == webhook["id"]
    assert len(receiver.taken()) == 1


SEALED = "UPDATE plugin_webhook_secrets SET sealed = :sealed::bytea WHERE webhook_id = :id::uuid RETURNING id"


@pytest.fixture
def sealed(api, webhook):
    """The webhook's secret is one that no configured key opens; call it to bring the right one back."""
    (kept,) = api.sql("SELECT sealed FROM plugin_webhook_secrets WHERE webhook_id = :id::uuid", id=webhook["id"])
    api.sql(SEALED, id=webhook["id"], sealed=Fernet(Fernet.generate_key()).encrypt(webhook["secret"].encode()))
    return lambda: api.sql(SEALED, id=webhook["id"], **kept)


def waits_for_its_key(api, delivery):
    """What is seen of it: pending, told to the operator, nothing spent, not due at once."""
    log = api.stack.data / "logs" / "gateway.log"
    until(lambda: f"webhook_secret_sealed event=webhook_secret_sealed deliveryId={delivery}" in log.read_text(), bool)
    found = until(lambda: api.delivery(delivery), lambda found: found["status"] == "pending")
    assert (found["attempts"], found["attemptLog"], found["lastErrorClass"]) == (0, [], None)
    (row,) = api.sql(
        "SELECT due_at > now() + interval '1 minute' AND sweep_at > due_at AS later FROM webhook_deliveries"
        " WHERE id = :id::uuid",
        id=delivery,
    )
    assert row["later"]


def test_a_delivery_whose_secret_cannot_be_opened_waits_for_the_key(api, receiver, webhook, sealed):
    (delivery,) = api.send(webhook)
    waits_for_its_key(api, delivery)
    assert receiver.taken() == []
    assert api.show(webhook)["status"] == "active"
    sealed()
    assert api.call("POST", f"/deliveries/{delivery}/retry").status == 202
    assert api.wait_for(delivery, "succeeded")["attempts"] == 1
    _, headers, body = receiver.got.get(timeout=60)
    assert verifies(webhook["secret"], headers, body)


def test_a_secret_whose_key_is_lost_for_good_is_replaced_by_a_rotation_without_overlap(api, receiver, webhook, sealed):
    (delivery,) = api.send(webhook)
    waits_for_its_key(api, delivery)
    secret = rotate(api, webhook, overlapSeconds=0)["secret"]
    assert api.call("POST", f"/deliveries/{delivery}/retry").status == 202
    api.wait_for(delivery, "succeeded")
    _, headers, body = receiver.got.get(timeout=60)
    assert verifies(secret, headers, body)
