"""When a delivery's schedule began, and when the sweep looks after it again."""

from datetime import UTC, datetime, timedelta

import pytest

from common.dal import delivery_work

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
    limits = {"in_flight": 8, "in_flight_failing": 1}
    with database.connection() as conn, conn.transaction():
        claimed = delivery_work.claim(conn, delivery["id"], 0, locked=True, lease_s=30, **limits)
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
