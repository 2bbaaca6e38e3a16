"""What a claim takes, where a settlement leaves off, and who waits for whose change of a webhook."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from common.dal import deliveries, delivery_work, events, recoveries, webhooks
from common.domain.delivery_task import BULKHEAD, LEASE_S
from common.webhooks.sender import DEADLINE_S

HOOK = """
INSERT INTO plugin_webhooks (account_id, url, events, pending)
VALUES (:account_id::uuid, 'https://a.example/', '{render.completed}', :pending::bigint) RETURNING id, account_id
"""
DELIVERY = """
INSERT INTO webhook_deliveries (account_id, webhook_id, event_id, event_type, payload, status, due_at, lease_until,
                                sweep_at)
SELECT account_id, id, uuidv7(), 'webhook.test', '{}', :status::text, now(),
       now() + :lease_s::int * interval '1 second', now()
FROM plugin_webhooks, generate_series(1, :n::int) WHERE id = :webhook_id::uuid
RETURNING id
"""
ENDS = {
    "disabled": "UPDATE plugin_webhooks SET status = 'disabled' WHERE id = :id::uuid RETURNING 1",
    "deleted": "UPDATE plugin_webhooks SET deleted_at = now() WHERE id = :id::uuid RETURNING 1",
}
ATTEMPT = {
    "trigger": "schedule",
    "started_at": datetime.now(UTC),
    "duration_ms": 1,
    "timings": "{}",
    "remote_address": None,
    "status_code": 500,
    "error_class": "http_5xx",
    "error": "the receiver answered 500",
    "request_headers": "{}",
    "response_headers": "{}",
    "response_body": "",
}


@pytest.fixture
def hook(database):
    """A webhook of a new account, with one delivery to be counted."""
    return database.sql(HOOK, account_id=database.account().account_id, pending=1)[0]


def made(database, hook, status="pending", n=1, lease_s=None):
    rows = database.sql(DELIVERY, webhook_id=hook["id"], status=status, n=n, lease_s=lease_s)
    return rows[0]["id"]


def row_of(database, delivery):
    (row,) = database.sql("SELECT * FROM webhook_deliveries WHERE id = :id::uuid", id=delivery)
    return row


def claim(conn, delivery, *, locked=True, allowed=8):
    failing = BULKHEAD["in_flight_failing"]
    return delivery_work.claim(
        conn, delivery, 0, locked=locked, allowed=allowed, in_flight_failing=failing, lease_s=LEASE_S
    )


def settle(conn, delivery, status="pending"):
    due_at = datetime.now(UTC) + timedelta(hours=1) if status == "pending" else None
    return delivery_work.settle(conn, delivery, 0, status=status, due_at=due_at, advance=1, attempt=ATTEMPT)


def test_a_lease_outlasts_an_attempt():
    assert LEASE_S >= DEADLINE_S + 10


def test_a_claimed_delivery_is_looked_after_soon_after_its_lease(database, hook):
    delivery = made(database, hook)
    with database.connection() as conn, conn.transaction():
        assert claim(conn, delivery)["claimed"]
    row = row_of(database, delivery)
    assert row["lease_until"] < row["sweep_at"] <= row["lease_until"] + timedelta(minutes=1)


def test_attempts_whose_worker_died_take_no_room(database, hook):
    delivery = made(database, hook)
    made(database, hook, "delivering", n=8, lease_s=-1)
    with database.connection() as conn, conn.transaction():
        assert delivery_work.lock_webhook(conn, delivery, **BULKHEAD) == {"allowed": 8, "locked": True}
        assert claim(conn, delivery)["claimed"]


def test_nothing_is_claimed_while_its_webhook_is_not_locked(database, hook):
    delivery = made(database, hook)
    with database.connection() as conn, conn.transaction():
        assert not claim(conn, delivery, locked=False)["claimed"]


def test_a_webhook_that_began_to_fail_meanwhile_gets_no_second_attempt_at_once(database, hook):
    delivery = made(database, hook)
    made(database, hook, "delivering", lease_s=60)
    database.sql("UPDATE plugin_webhooks SET failures_in_row = 5 WHERE id = :id::uuid RETURNING 1", id=hook["id"])
    with database.connection() as conn, conn.transaction():
        assert not claim(conn, delivery)["claimed"]


@pytest.mark.parametrize(("how", "status"), [("disabled", "skipped"), ("deleted", "canceled")])
def test_what_a_dead_worker_left_of_a_webhook_that_ended_ends_too(database, hook, how, status):
    delivery = made(database, hook, "delivering", lease_s=-1)
    made(database, hook, "delivering", n=8, lease_s=60)
    database.sql(ENDS[how], id=hook["id"])
    with database.connection() as conn, conn.transaction():
        assert delivery_work.lock_webhook(conn, delivery, **BULKHEAD)["locked"], "it needs no room"
        assert claim(conn, delivery) is None
    row = row_of(database, delivery)
    assert (row["status"], row["sweep_at"], row["lease_until"]) == (status, None, None)
    assert row["completed_at"]
    assert database.sql("SELECT pending FROM plugin_webhooks WHERE id = :id::uuid", id=hook["id"]) == [{"pending": 0}]


@pytest.mark.parametrize(
    ("status", "lease_s", "moved"), [("pending", None, True), ("delivering", 60, False), ("delivering", -1, True)]
)
def test_only_what_nobody_has_is_postponed(database, hook, status, lease_s, moved):
    delivery = made(database, hook, status, lease_s=lease_s)
    before, later = row_of(database, delivery), datetime.now(UTC) + timedelta(minutes=5)
    with database.connection() as conn, conn.transaction():
        assert bool(delivery_work.postpone(conn, delivery, later)) == moved
    after = row_of(database, delivery)
    assert after["sweep_at"] == (later + timedelta(seconds=10) if moved else before["sweep_at"])
    assert after["due_at"] == (later if status == "pending" else before["due_at"])
    assert after["generation"] == before["generation"] + moved


@pytest.mark.parametrize(
    ("act", "seen"),
    [
        (lambda conn, hook, delivery: settle(conn, delivery)["status"], "skipped"),
        (lambda conn, hook, delivery: deliveries.lock(conn, hook["account_id"], delivery)["active"], False),
        (lambda conn, hook, delivery: webhooks.lock(conn, hook["account_id"], hook["id"])["status"], "disabled"),
        (lambda conn, hook, delivery: recoveries.lock_webhook(conn, hook["id"]), False),
        (lambda conn, hook, delivery: bool(delivery_work.lock_webhook(conn, delivery, **BULKHEAD)), True),
        (
            lambda conn, hook, delivery: [
                row["status"] for row in events.publish(conn, hook["account_id"], "render.completed", {})
            ],
            ["skipped"],
        ),
    ],
    ids=["settle", "retry", "change", "recover", "claim", "publish"],
)
def test_who_depends_on_a_webhook_waits_for_its_change_and_sees_it(database, hook, act, seen):
    delivery = made(database, hook, "delivering", lease_s=60 if seen == "skipped" else -1)
    found = []

    def work():
        with database.connection() as conn, conn.transaction():
            pids.append(conn.one("SELECT pg_backend_pid() AS pid")["pid"])
            found.append(act(conn, hook, delivery))

    pids, worker = [], threading.Thread(target=work)
    with database.connection(database.owner_url) as conn:
        with conn.transaction():
            conn.rows(ENDS["disabled"], id=hook["id"])
            worker.start()
            blocked = "SELECT cardinality(pg_blocking_pids(:pid::int)) > 0 AS blocked"
            while not (pids and database.sql(blocked, pid=pids[0])[0]["blocked"]):
                assert worker.is_alive(), f"it did not wait: {found}"
        worker.join()
    assert found == [seen]


def test_a_worker_whose_claim_another_has_taken_over_settles_nothing(database, hook):
    delivery = made(database, hook, "delivering", lease_s=-1)
    with database.connection() as conn, conn.transaction():
        assert claim(conn, delivery)["claimed"], "by another, under a new generation"
    before = row_of(database, delivery)
    with database.connection() as conn, conn.transaction():
        assert settle(conn, delivery, "dead") is None
    assert row_of(database, delivery) == before


def test_sweeps_side_by_side_do_not_wait_for_each_other(database, hook):
    delivery = made(database, hook)
    with database.connection() as one, database.connection() as other, one.transaction():
        assert delivery in [row["id"] for row in delivery_work.claim_due(one, 1000)]
        with other.transaction():
            other.rows("SELECT set_config('lock_timeout', '1s', true)")
            assert delivery not in [row["id"] for row in delivery_work.claim_due(other, 1000)]


def test_a_webhook_that_is_enabled_while_it_ends_keeps_what_is_left(database, hook):
    made(database, hook, n=3)
    with database.connection() as conn, conn.transaction():
        webhooks.disable(conn, hook["id"], "disabled", "a reason")
        assert webhooks.end_pending(conn, hook["id"], "skipped", 1) == 1
        webhooks.enable(conn, hook["account_id"], hook["id"])
    (row,) = database.sql("SELECT status, ending FROM plugin_webhooks WHERE id = :id::uuid", id=hook["id"])
    assert row == {"status": "active", "ending": False}
