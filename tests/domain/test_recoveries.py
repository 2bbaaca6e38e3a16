"""Recoveries of many deliveries: what a batch puts back, and whose turn it is."""

from datetime import UTC, datetime, timedelta

import pytest

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


def ordered(database, n, statuses=("dead", "skipped"), pending=0, until=None):
    """A recovery of a new webhook's `n` deliveries, not begun; `until` is seconds after they were made."""
    (hook, *_) = database.sql(ENDED, account_id=database.account().account_id, n=n)
    newest = "SELECT max(created_at) AS at FROM webhook_deliveries WHERE webhook_id = :id::uuid"
    (made,) = database.sql(newest, id=hook["webhook_id"])
    database.sql(
        "UPDATE plugin_webhooks SET dead = :n::int / 2, pending = :pending::int WHERE id = :id::uuid RETURNING 1",
        n=n,
        pending=pending,
        id=hook["webhook_id"],
    )
    with database.connection() as conn, conn.transaction():
        return recoveries.insert(
            conn,
            **hook,
            statuses=list(statuses),
            since=SINCE,
            until=None if until is None else made["at"] + timedelta(seconds=until),
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


@pytest.mark.parametrize(("until", "matched"), [(0, 0), (0.000001, 4)])
def test_what_was_made_at_its_end_or_later_is_not_of_a_recovery(database, until, matched):
    order = ordered(database, 4, until=until)
    assert len(put_back(database, order, limit=20)) == order["matched"] == matched


def test_what_dies_again_is_not_put_back_twice_by_one_recovery(database):
    order = ordered(database, 4, ["dead", "skipped"])
    first = [row["id"] for row in put_back(database, order, limit=2)]
    database.sql(
        "UPDATE webhook_deliveries SET status = 'dead', completed_at = now(), sweep_at = NULL"
        " WHERE id = ANY (:ids::uuid[]) RETURNING 1",
        ids=first,
    )
    second = [row["id"] for row in put_back(database, order, limit=20)]
    assert len({*first, *second}) == len(first) + len(second) == 4


def test_the_oldest_are_put_back_first_and_behind_what_is_pending_already(database):
    order = ordered(database, 6, ["dead"], pending=1000)
    oldest = "SELECT id FROM webhook_deliveries WHERE webhook_id = :id::uuid AND status = 'dead' ORDER BY id"
    ids = [row["id"] for row in database.sql(oldest, id=order["webhook_id"])]
    before = datetime.now(UTC)
    (first,), (second,) = (put_back(database, order, limit=1) for _ in range(2))
    assert [first["id"], second["id"]] == ids[:2]
    assert first["due_at"] >= before + timedelta(seconds=9), "a hundred a second"


def test_a_recovery_is_its_accounts_own(database):
    order = ordered(database, 2)
    (row,) = database.sql("SELECT account_id FROM webhook_recoveries WHERE id = :id::uuid", id=order["id"])
    with database.connection() as conn:
        assert recoveries.find(conn, row["account_id"], order["id"])["matched"] == 2
        assert recoveries.find(conn, database.account().account_id, order["id"]) is None


def test_sweeps_side_by_side_do_not_wait_for_each_others_recovery(database):
    ordered(database, 2)
    with database.connection() as one, database.connection() as other, one.transaction():
        one.rows("SELECT id FROM webhook_recoveries WHERE completed_at IS NULL FOR UPDATE")
        with other.transaction():
            other.rows("SELECT set_config('lock_timeout', '1s', true)")
            assert recoveries.lock_open(other) is None
