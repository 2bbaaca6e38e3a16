"""Recoveries of many deliveries: what a batch puts back, and whose turn it is."""

from datetime import UTC, datetime

from common.dal import recoveries
from common.domain import paging

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = """
WITH webhook AS (
    INSERT INTO plugin_webhooks (account_id, url, events) VALUES (:account_id::uuid, 'https://a.example/', '{}')
    RETURNING id, account_id
)
INSERT INTO webhook_deliveries (account_id, webhook_id, event_id, event_type, payload, status, completed_at)
SELECT account_id, id, uuidv7(), 'webhook.test', '{}', CASE WHEN n % 2 = 0 THEN 'dead' ELSE 'skipped' END, now()
FROM webhook, generate_series(1, :n::int) n
RETURNING account_id, webhook_id
"""


def ordered(database, n, statuses=("dead", "skipped")):
    """A recovery of a new webhook's `n` deliveries, not begun."""
    (hook, *_) = database.sql(ENDED, account_id=database.account().account_id, n=n)
    database.sql(
        "UPDATE plugin_webhooks SET dead = :n::int / 2 WHERE id = :id::uuid RETURNING 1", n=n, id=hook["webhook_id"]
    )
    with database.connection() as conn, conn.transaction():
        return recoveries.insert(
            conn,
            **hook,
            statuses=list(statuses),
            since=SINCE,
            until=None,
            first=paging.first_id(SINCE),
            dry_run=False,
            at_once=1,
        )


def put_back(database, order, limit):
    with database.connection() as conn, conn.transaction():
        return recoveries.work(conn, order["id"], first=paging.first_id(SINCE), limit=limit, per_s=100.0)


def test_batches_put_back_each_of_ten_thousand_deliveries_once_and_one_after_another(database):
    order = ordered(database, 10_500)
    assert (order["matched"], order["enqueued"]) == (10_500, 10_500)
    batches = [put_back(database, order, limit=1000) for _ in range(12)]
    assert [len(batch) for batch in batches] == [*[1000] * 10, 500, 0]
    rows = [row for batch in batches for row in batch]
    assert len({row["id"] for row in rows}) == 10_500
    assert len({row["due_at"] for row in rows}) > 10_000
    (counts,) = database.sql("SELECT pending, dead FROM plugin_webhooks WHERE id = :id::uuid", id=order["webhook_id"])
    assert counts == {"pending": 10_500, "dead": 0}


def test_only_the_statuses_that_were_asked_for_are_put_back(database):
    order = ordered(database, 10, ["dead"])
    assert len(put_back(database, order, limit=20)) == order["matched"] == 5


def test_a_large_recovery_does_not_hold_up_another(database):
    orders = {ordered(database, n)["id"] for n in (500, 5)}
    turns = set()
    with database.connection() as conn:
        for _ in range(60):
            with conn.transaction():
                turns.add(recoveries.lock_open(conn)["id"])
    assert orders <= turns
