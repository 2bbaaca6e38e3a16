"""When a delivery's schedule began, and when the sweep looks again after a delivery or a render."""

from datetime import UTC, datetime, timedelta

import pytest

from common.dal import delivery_work, render_work
from common.domain import delivery_task, renders
from common.domain.delivery_task import BULKHEAD
from common.schemas.renders import CreateRender

NOW = datetime.now(UTC)
MADE = """
WITH webhook AS (
    INSERT INTO plugin_webhooks (account_id, url, events) VALUES (:account_id::uuid, 'https://a.example/', '{}')
    RETURNING id, account_id
)
INSERT INTO webhook_deliveries (account_id, webhook_id, event_id, event_type, payload, due_at, sweep_at, scheduled)
SELECT account_id, id, uuidv7(), 'webhook.test', '{}', now(), now(), :scheduled::int FROM webhook
RETURNING id, webhook_id
"""
ATTEMPT = """
INSERT INTO webhook_attempts (delivery_id, webhook_id, number, trigger, started_at, duration_ms, timings,
                              request_headers, response_headers)
VALUES (:id::uuid, :webhook_id::uuid, :number::int, :trigger::text, :at::timestamptz, 1, '{}', '{}', '{}')
RETURNING number
"""


@pytest.mark.parametrize(
    ("scheduled", "triggers", "first"),
    [
        (0, [], None),
        (0, ["manual"], None),
        (2, ["schedule", "schedule"], 0),
        (2, ["manual", "schedule", "manual", "schedule", "manual"], 1),
        (0, ["schedule", "schedule"], None),
        (2, ["schedule", "schedule", "recover", "schedule", "manual"], 2),
        (1, ["schedule", "schedule", "manual", "schedule"], 3),
    ],
    ids=["new", "by hand", "twice", "by hand between", "recovered", "after a recovery", "recovered, then by hand"],
)
def test_the_window_is_counted_from_the_first_attempt_of_the_schedule(database, scheduled, triggers, first):
    (delivery,) = database.sql(MADE, account_id=database.account().account_id, scheduled=scheduled)
    times = [NOW - timedelta(hours=len(triggers) - number) for number in range(len(triggers))]
    for number, trigger in enumerate(triggers):
        database.sql(ATTEMPT, **delivery, number=number + 1, trigger=trigger, at=times[number])
    with database.connection() as conn, conn.transaction():
        claimed = delivery_work.claim(conn, delivery["id"], 0, locked=True, allowed=8, in_flight_failing=1, lease_s=30)
    assert claimed["claimed"]
    if first is None:
        assert abs(claimed["began_at"] - datetime.now(UTC)) < timedelta(minutes=5)
    else:
        assert claimed["began_at"] == times[first]


@pytest.mark.parametrize("generation", [0, 3, 50])
@pytest.mark.parametrize(("overdue", "wait"), [(0, 10), (12, 12), (40, 40), (3600, 300)])
def test_the_sweep_comes_back_by_how_long_a_delivery_is_overdue_however_often_it_was_tried(
    database, overdue, wait, generation
):
    (delivery,) = database.sql(MADE, account_id=database.account().account_id, scheduled=0)
    database.sql(
        "UPDATE webhook_deliveries SET generation = :generation::int,"
        " due_at = now() - :overdue::int * interval '1 second' WHERE id = :id::uuid RETURNING id",
        id=delivery["id"],
        generation=generation,
        overdue=overdue,
    )
    with database.connection() as conn, conn.transaction():
        assert delivery["id"] in [row["id"] for row in delivery_work.claim_due(conn, 1000)]
        (row,) = conn.rows(
            "SELECT generation, extract(epoch FROM sweep_at - now())::float AS wait FROM webhook_deliveries"
            " WHERE id = :id::uuid",
            id=delivery["id"],
        )
    assert row["generation"] == generation + 1
    assert wait <= row["wait"] < wait + 5


@pytest.mark.parametrize("generation", [0, 3, 50])
@pytest.mark.parametrize(("left", "wait"), [(0, 10), (12, 12), (40, 40), (3600, 300)])
@pytest.mark.parametrize("since", ["created_at", "lease_until"])
def test_the_sweep_comes_back_by_how_long_a_render_is_left_however_often_it_was_tried(
    database, since, left, wait, generation
):
    caller = database.account(granted=10)
    with database.connection() as conn, conn.transaction():
        order = CreateRender(uploadId=database.upload(caller), prompt="a room", quality="draft")
        render = renders.create(conn, caller, order).id
    database.sql(
        "UPDATE renders SET created_at = now() - interval '9 hours', generation = :generation::int, sweep_at = now()"
        " WHERE id = :id::uuid RETURNING id",
        id=render,
        generation=generation,
    )
    database.sql(
        f"UPDATE renders SET {since} = now() - :left::int * interval '1 second' WHERE id = :id::uuid RETURNING id",
        id=render,
        left=left,
    )
    with database.connection() as conn, conn.transaction():
        assert render in [row["id"] for row in render_work.sweep(conn, 1000)]
        (row,) = conn.rows(
            "SELECT generation, extract(epoch FROM sweep_at - now())::float AS wait FROM renders WHERE id = :id::uuid",
            id=render,
        )
    assert row["generation"] == generation + 1
    assert wait <= row["wait"] < wait + 5


TOOK = """
WITH made AS (
    INSERT INTO webhook_deliveries (account_id, webhook_id, event_id, event_type, payload, status)
    SELECT account_id, id, uuidv7(), 'webhook.test', '{}', 'succeeded' FROM plugin_webhooks
    WHERE id = :webhook_id::uuid RETURNING id, webhook_id
)
INSERT INTO webhook_attempts (delivery_id, webhook_id, number, trigger, started_at, duration_ms, timings,
                              request_headers, response_headers)
SELECT id, webhook_id, 1, 'schedule', :at::timestamptz, :took::int, '{}', '{}', '{}' FROM made RETURNING number
"""


@pytest.mark.parametrize(
    ("took", "failures", "allowed"),
    [
        ([], 0, 8),
        ([1, 1, 1], 4, 8),
        ([4999], 0, 8),
        ([5000], 0, 2),
        ([1, 15000, 1, 1, 1, 1], 0, 2),
        ([15000, 1, 1, 1, 1, 1], 0, 8),
        ([1], 5, 1),
        ([15000] * 8, 8, 1),
    ],
    ids=["new", "quick", "just quick", "slow", "slow among five", "slow before them", "failing", "failing slowly"],
)
def test_how_many_attempts_a_webhook_may_have_at_once(database, took, failures, allowed):
    (delivery,) = database.sql(MADE, account_id=database.account().account_id, scheduled=0)
    webhook = delivery["webhook_id"]
    for number, took_ms in enumerate(took):
        database.sql(TOOK, webhook_id=webhook, at=NOW - timedelta(minutes=len(took) - number), took=took_ms)
    database.sql(
        "UPDATE plugin_webhooks SET failures_in_row = :n::int WHERE id = :id::uuid RETURNING id",
        n=failures,
        id=webhook,
    )

    def room():
        with database.connection() as conn, conn.transaction():
            return delivery_work.lock_webhook(conn, delivery["id"], **BULKHEAD)

    def others(n):
        database.sql(
            "INSERT INTO webhook_deliveries"
            " (account_id, webhook_id, event_id, event_type, payload, status, lease_until, sweep_at)"
            " SELECT account_id, id, uuidv7(), 'webhook.test', '{}', 'delivering', now() + interval '1 hour', now()"
            " FROM plugin_webhooks, generate_series(1, :n::int) WHERE id = :id::uuid RETURNING 1",
            id=webhook,
            n=n,
        )

    others(allowed - 1)
    assert room() == {"allowed": allowed, "locked": True}
    others(1)
    assert room() == {"allowed": allowed, "locked": False}


@pytest.mark.parametrize(
    ("pending", "allowed", "longest"),
    [(1, 8, 5), (400, 8, 5), (2_000, 8, 20), (1_000_000, 8, 600), (10, 2, 5), (400, 2, 80), (400, 1, 80)],
)
def test_what_finds_no_room_comes_back_within_seconds_or_later_the_longer_the_line(pending, allowed, longest):
    """Within the time in which so many get in: 100 a second, or 5 of a slow or failing webhook."""
    drawn = [delivery_task._crowded_for(pending, allowed) for _ in range(500)]
    assert 1 <= min(drawn) < max(drawn) <= longest
    assert max(drawn) > 0.9 * longest
