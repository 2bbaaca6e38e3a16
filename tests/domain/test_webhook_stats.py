"""Statistics are what a look at every delivery and every attempt gives."""

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.domain import webhook_stats
from common.errors import NotFound
from common.schemas.deliveries import Status
from common.schemas.webhooks import StatsQuery
from common.webhooks.outcome import ErrorClass

LENGTHS = {"1h": (60, 60), "24h": (24, 3600), "7d": (28, 6 * 3600), "30d": (30, 86_400)}
PERCENTILES = {"p50": Fraction(50, 100), "p95": Fraction(95, 100), "p99": Fraction(99, 100)}
WEBHOOK = """
INSERT INTO plugin_webhooks (account_id, url, events) VALUES (:account_id::uuid, 'https://a.example/', '{}')
RETURNING id
"""
DELIVERY = """
INSERT INTO webhook_deliveries (id, account_id, webhook_id, event_id, event_type, payload, status, created_at, sweep_at)
VALUES (:id::uuid, :account_id::uuid, :webhook_id::uuid, uuidv7(), 'webhook.test', '{}', :status::text,
        :at::timestamptz, CASE WHEN :status IN ('pending', 'delivering') THEN timestamptz 'infinity' END)
RETURNING id
"""
ATTEMPT = """
INSERT INTO webhook_attempts (delivery_id, webhook_id, number, trigger, started_at, duration_ms, timings, error_class,
                              request_headers, response_headers)
VALUES (:delivery_id::uuid, :webhook_id::uuid, :number::int, 'schedule', :at::timestamptz, :ms::int, '{}',
        :error_class::text, '{}', '{}')
RETURNING number
"""
#: Seconds ago: anywhere in two windows, and near or at the edges of buckets, which begin at whole minutes.
ages = st.one_of(
    st.integers(0, 2 * 3600),
    st.integers(0, 60 * 86_400),
    st.builds(lambda days, off: max(0, days * 86_400 + off), st.integers(0, 31), st.sampled_from([-1, 0, 1])),
)
attempts = st.tuples(ages, st.integers(0, 9) | st.integers(0, 15_000), st.none() | st.sampled_from(ErrorClass.__args__))
deliveries = st.lists(
    st.tuples(ages, st.sampled_from(Status.__args__), st.lists(attempts, max_size=4)), min_size=1, max_size=12
)


def id_of(moment):
    """A UUIDv7 of the time, as the database makes them."""
    ms = int(moment.timestamp() * 1000)
    return uuid.UUID(int=(ms << 80) | (uuid.uuid4().int & (1 << 80) - 1) & ~(0xF << 76) | 7 << 76)


def keep(conn, caller, webhook_id, made, today):
    """Store what was made; deliveries as (time, status), attempts as (time, ms, error class)."""
    kept, tried = [], []
    for age, status, log in made:
        moment = today - timedelta(seconds=age)
        delivery_id = id_of(moment)
        conn.rows(
            DELIVERY, id=delivery_id, account_id=caller.account_id, webhook_id=webhook_id, status=status, at=moment
        )
        kept.append((moment, status))
        for number, (attempt_age, ms, error_class) in enumerate(log, 1):
            at = today - timedelta(seconds=attempt_age)
            fields = {"delivery_id": delivery_id, "webhook_id": webhook_id, "number": number}
            conn.rows(ATTEMPT, **fields, at=at, ms=ms, error_class=error_class)
            tried.append((at, ms, error_class))
    return kept, tried


def counted(kept, tried, starts, step):
    """The same, one at a time."""
    statuses = Counter(status for moment, status in kept if moment >= starts[0])
    inside = [attempt for attempt in tried if starts[0] <= attempt[0] < starts[-1] + step]
    durations = sorted(ms for _, ms, _ in inside)
    failures = Counter(error_class for _, _, error_class in inside if error_class)
    ended = statuses["succeeded"] + statuses["dead"]
    return {
        "total": statuses.total(),
        "succeeded": statuses["succeeded"],
        "dead": statuses["dead"],
        "pending": statuses["pending"] + statuses["delivering"],
        "skipped": statuses["skipped"],
        "attempts": len(inside),
        "successRate": round(statuses["succeeded"] / ended, 4) if ended else None,
        "latencyMs": {
            name: durations[ceil(share * len(durations)) - 1] if durations else None
            for name, share in PERCENTILES.items()
        },
        "failures": [
            {"errorClass": name, "count": count}
            for name, count in sorted(failures.items(), key=lambda item: (-item[1], item[0]))
        ],
        "buckets": [
            (
                sum(error_class is None for at, _, error_class in inside if start <= at < start + step),
                sum(error_class is not None for at, _, error_class in inside if start <= at < start + step),
            )
            for start in starts
        ],
    }


@pytest.fixture(scope="module")
def caller(database):
    return database.account()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mine=deliveries, others=deliveries)
def test_statistics_are_what_a_look_at_every_row_gives(database, caller, mine, others):
    now = datetime.now(UTC)
    today = now.replace(microsecond=0)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with database.connection(database.owner_url) as conn, conn.transaction():
        webhook_id, beside = (conn.one(WEBHOOK, account_id=caller.account_id)["id"] for _ in range(2))
        kept, tried = keep(conn, caller, webhook_id, mine, today)
        more_kept, more_tried = keep(conn, caller, webhook_id, mine, midnight)
        keep(conn, caller, beside, others, today)
        for window, (count, seconds) in LENGTHS.items():
            shown = webhook_stats.get(conn, caller, webhook_id, StatsQuery(window=window)).wire()
            step = timedelta(seconds=seconds)
            buckets = shown.pop("buckets")
            starts = [datetime.fromisoformat(bucket["start"]) for bucket in buckets]
            assert starts == [starts[0] + number * step for number in range(count)]
            assert starts[-1] <= datetime.now(UTC)
            assert now < starts[-1] + step
            found = [(bucket["succeeded"], bucket["failed"]) for bucket in buckets]
            wanted = counted(kept + more_kept, tried + more_tried, starts, step)
            assert shown | {"buckets": found} == wanted | {"window": window}


def test_somebody_elses_statistics_are_not_found(database, caller):
    with database.connection(database.owner_url) as conn:
        webhook_id = conn.one(WEBHOOK, account_id=caller.account_id)["id"]
        with pytest.raises(NotFound):
            webhook_stats.get(conn, database.account(), webhook_id, StatsQuery(window="1h"))


def test_a_deleted_webhooks_statistics_are_not_found(database, caller):
    with database.connection(database.owner_url) as conn:
        webhook_id = conn.one(WEBHOOK, account_id=caller.account_id)["id"]
        conn.rows("UPDATE plugin_webhooks SET deleted_at = now() WHERE id = :id::uuid RETURNING 1", id=webhook_id)
        with pytest.raises(NotFound):
            webhook_stats.get(conn, caller, webhook_id, StatsQuery())


def test_the_window_is_a_day_when_none_is_named():
    assert StatsQuery().window == "24h"


def test_the_operators_views_count_an_hour(database, caller):
    """An hour that no other test has."""
    hour = datetime(2001, 1, 1, 5, tzinfo=UTC)
    with database.connection(database.owner_url) as conn, conn.transaction():
        one, two = (conn.one(WEBHOOK, account_id=caller.account_id)["id"] for _ in range(2))
        ended = ["succeeded"] * 3 + ["dead"] + ["skipped"] * 2 + ["canceled"]
        ids = [id_of(hour) for _ in ended]
        for delivery_id, status in zip(ids, ended, strict=True):
            fields = {"account_id": caller.account_id, "webhook_id": one, "status": status, "at": hour}
            conn.rows(DELIVERY, id=delivery_id, **fields)
        conn.rows(
            "UPDATE webhook_deliveries SET completed_at = created_at + interval '59 minutes'"
            " WHERE id = ANY (:ids::uuid[]) RETURNING 1",
            ids=ids,
        )
        for ms in range(1, 101):
            failed = {1: "dns", 2: "dns", 3: "timeout", 4: "timeout"}.get(ms)
            fields = {"delivery_id": ids[0], "webhook_id": two if ms == 2 else one, "number": ms, "at": hour}
            conn.rows(ATTEMPT, ms=ms, error_class=failed, **fields)

        def told(view, order="hour"):
            return conn.rows(f"SELECT * FROM {view} WHERE hour = :hour::timestamptz ORDER BY {order}", hour=hour)

        (success,) = told("webhook_success_by_hour")
        assert success == {"hour": hour, "succeeded": 3, "dead": 1, "skipped": 2, "success_rate": Decimal("0.7500")}
        (latency,) = told("webhook_latency_by_hour")
        percentiles = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}
        assert latency == {"hour": hour, "attempts": 100, "succeeded": 96, **percentiles}
        assert told("webhook_failures_by_hour", "error_class") == [
            {"hour": hour, "error_class": "dns", "status_code": None, "attempts": 2, "webhooks": 2},
            {"hour": hour, "error_class": "timeout", "status_code": None, "attempts": 2, "webhooks": 1},
        ]
