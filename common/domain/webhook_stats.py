"""A webhook's statistics: counted when asked for, so that they are never behind."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from common import clock
from common.auth.caller import Caller
from common.dal import webhook_stats as dal
from common.db import Connection
from common.domain import paging
from common.errors import NotFound
from common.schemas.webhooks import Bucket, FailureCount, Latency, StatsQuery, WebhookStats

#: Each window's buckets: how many, and how long each is.
WINDOWS = {
    "1h": (60, timedelta(minutes=1)),
    "24h": (24, timedelta(hours=1)),
    "7d": (28, timedelta(hours=6)),
    "30d": (30, timedelta(days=1)),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def get(conn: Connection, caller: Caller, webhook_id: UUID, query: StatsQuery) -> WebhookStats:
    """The webhook's window up to now, every bucket of it present. NotFound."""
    count, step = WINDOWS[query.window]
    since = start(clock.now(), count, step)
    row = dal.count(
        conn,
        caller.account_id,
        webhook_id,
        since=since,
        until=since + count * step,
        step_s=int(step.total_seconds()),
        first=paging.first_id(since),
    )
    if row is None:
        raise NotFound
    statuses = dict.fromkeys(("pending", "delivering", "succeeded", "dead", "skipped"), 0) | row["statuses"]
    ended = statuses["succeeded"] + statuses["dead"]
    buckets = {number: (succeeded, failed) for number, succeeded, failed in row["buckets"]}
    return WebhookStats(
        window=query.window,
        total=sum(statuses.values()),
        succeeded=statuses["succeeded"],
        dead=statuses["dead"],
        pending=statuses["pending"] + statuses["delivering"],
        skipped=statuses["skipped"],
        attempts=sum(map(sum, buckets.values())),
        success_rate=round(statuses["succeeded"] / ended, 4) if ended else None,
        latency_ms=Latency(**dict(zip(("p50", "p95", "p99"), row["latencies"], strict=True))),
        failures=[FailureCount(error_class=name, count=n) for name, n in row["failures"]],
        buckets=[_bucket(since + number * step, *buckets.get(number, (0, 0))) for number in range(count)],
    )


def start(now: datetime, count: int, step: timedelta) -> datetime:
    """When a window of `count` buckets begins, whose last one holds `now`; buckets begin at multiples of `step`."""
    return now - (now - _EPOCH) % step - (count - 1) * step


def _bucket(begin: datetime, succeeded: int, failed: int) -> Bucket:
    return Bucket(start=begin, succeeded=succeeded, failed=failed)
