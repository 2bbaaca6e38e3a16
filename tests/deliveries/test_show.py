"""Deliveries are listed by every filter, shown with their attempts, and counted."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from common.schemas.events import EVENTS
from tests.deliveries.conftest import Api
from tests.deliveries.test_dead_letters import dead


def listed(api, **filters):
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    answer = api.call("GET", f"/deliveries?{query}")
    assert answer.status == 200, answer.body
    return answer.json


@pytest.fixture(scope="module")
def upload_id(stack, tmp_path_factory):
    from tests.functions.test_webhooks import SNAPSHOT

    picture = tmp_path_factory.mktemp("show") / "room.png"
    picture.write_bytes(SNAPSHOT.read_bytes())
    return stack.client().upload(picture)["id"]


def test_every_filter_filters(api, receiver):
    one, two = api.register(receiver.url), api.register(receiver.url)
    (good,) = api.send(one)
    api.wait_for(good, "succeeded")
    receiver.usual = (410, {})
    (bad,) = api.send(two)
    api.wait_for(bad, "dead")
    moment = api.delivery(bad)["createdAt"]

    def ids(**filters):
        return {item["id"] for item in listed(api, limit=100, **filters)["items"]} & {good, bad}

    assert ids() == {good, bad}
    assert ids(webhookId=one["id"]) == ids(webhookId=one["id"], status="succeeded") == {good}
    assert ids(status="dead") == ids(errorClass="gone") == ids(webhookId=two["id"], errorClass="gone") == {bad}
    assert ids(eventType="webhook.test") == {good, bad}
    assert ids(eventType="render.failed") == ids(webhookId=str(uuid4())) == set()
    assert ids(since=moment) == ids(since=moment, webhookId=two["id"]) == {bad}
    assert ids(until=moment) == {good}
    for made in (one, two):
        api.call("DELETE", f"/webhooks/{made['id']}")
    assert ids() == {good, bad}, "a deleted webhook's deliveries stay to be seen"


@pytest.mark.parametrize(
    "query",
    ["status=lost", "webhookId=1", "eventType=x", "errorClass=x", "since=today", "since=2026-01-01T00:00:00", "x=1"]
    + ["since=0001-01-01T00:00:00%2B14:00", "until=9999-12-31T23:59:59-14:00", "until=999999999999999"],
)
def test_a_filter_that_cannot_be_is_refused(api, query):
    assert api.call("GET", f"/deliveries?{query}").code == "invalid_request"


@pytest.mark.parametrize(
    "query",
    [
        "since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59.999999Z",
        "since=1960-01-01T00:00:00Z",
    ],
)
def test_any_time_is_taken(api, receiver, webhook, query):
    (delivery,) = api.send(webhook)
    answer = api.call("GET", f"/deliveries?webhookId={webhook['id']}&{query}")
    assert [item["id"] for item in answer.json["items"]] == [delivery]
    assert api.recover(webhook, since="0001-01-01T00:00:00Z", until="9999-12-31T23:59:59Z").status == 202


def test_pages_are_whole_and_do_not_move_while_more_comes(api, receiver, webhook):
    sent = set(api.send(webhook, 7))
    seen, cursor = [], ""
    while cursor is not None:
        page = listed(api, webhookId=webhook["id"], limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
        api.send(webhook)
    assert set(seen) == sent
    assert len(seen) == 7
    assert seen == sorted(seen, reverse=True)


def test_a_delivery_shows_its_attempts_without_secrets_and_cut(api, receiver, webhook):
    secrets = "Set-Cookie X-Auth-Token Authorization X-Client-Secret X-Signature X-Api-Key X-ApiKey X-Password".split()
    receiver.answers.put((500, dict.fromkeys(secrets, "abc") | {"Server": "odd"}, b"\x00\xff" * 20_000))
    (delivery,) = api.send(webhook)
    shown = api.wait_for(delivery, "succeeded")
    first, second = shown["attemptLog"]
    assert first.keys() == set(
        "number trigger startedAt durationMs timings remoteAddress statusCode errorClass error requestHeaders"
        " responseHeaders responseBody".split()
    )
    assert (first["number"], first["trigger"], first["statusCode"]) == (1, "schedule", 500)
    assert (first["errorClass"], first["remoteAddress"]) == ("http_5xx", "127.0.0.1")
    assert "500" in first["error"]
    assert first["timings"].keys() == {"dnsMs", "connectMs", "tlsMs", "firstByteMs"}
    assert first["timings"]["connectMs"] >= 0
    assert first["timings"]["tlsMs"] is None
    assert first["requestHeaders"]["webhook-id"] == shown["eventId"]
    assert first["requestHeaders"]["webhook-signature"] == "[redacted]"
    assert first["responseHeaders"]["server"].endswith("odd")
    assert {first["responseHeaders"][name.lower()] for name in secrets} == {"[redacted]"}
    assert first["responseBody"] == "\N{REPLACEMENT CHARACTER}" * (16 << 10)
    assert (second["number"], second["statusCode"], second["errorClass"], second["error"]) == (2, 204, None, None)


def test_the_newest_hundred_attempts_are_shown_oldest_first(api, webhook):
    delivery = dead(api, webhook)
    api.sql(
        "INSERT INTO webhook_attempts (delivery_id, webhook_id, number, trigger, started_at, duration_ms, timings,"
        " request_headers, response_headers) SELECT :id::uuid, :webhook_id::uuid, n, 'manual', now(), 1,"
        """ '{"dnsMs": 0, "connectMs": 0, "tlsMs": null, "firstByteMs": 1}', '{}', '{}'"""
        " FROM generate_series(4, 102) n RETURNING number",
        id=delivery,
        webhook_id=webhook["id"],
    )
    assert [attempt["number"] for attempt in api.delivery(delivery)["attemptLog"]] == list(range(3, 103))


def test_the_last_delivery_of_a_webhook_is_told(api, receiver, webhook):
    assert api.show(webhook)["lastDeliveryAt"] is None
    (delivery,) = api.send(webhook)
    completed = api.wait_for(delivery, "succeeded")["completedAt"]
    assert api.show(webhook)["lastDeliveryAt"] == completed


def test_the_payload_is_shown_as_it_is_documented_and_without_where_files_are(api, receiver, webhook, upload_id):
    client = api.stack.client()
    render = client.wait(client.render(upload_id, "a room", quality="draft")["id"])
    _, _, body = receiver.got.get(timeout=20)
    event = json.loads(body)
    assert event.keys() == {"type", "timestamp", "data"}
    assert EVENTS["render.completed"].model_validate(event).wire() == event
    assert event["data"] == client.call("GET", f"/renders/{render['id']}")
    (item,) = listed(api, webhookId=webhook["id"])["items"]
    payload = api.delivery(item["id"])["payload"]
    files = [
        {k: v for k, v in file.items() if k not in ("url", "expiresAt")} for file in event["data"]["output"]["files"]
    ]
    assert payload == event | {"data": event["data"] | {"output": event["data"]["output"] | {"files": files}}}


def test_every_events_example_is_what_its_model_says():
    for name, model in EVENTS.items():
        schema = model.model_json_schema()
        (example,) = schema["examples"]
        assert (schema["title"], schema["x-version"]) == (f"{name} v1", 1)
        assert model.model_validate(example).wire() == example


def test_somebody_elses_deliveries_are_not_found(api, stack, receiver, webhook):
    (mine,) = api.send(webhook)
    api.wait_for(mine, "succeeded")
    api.sql(
        "WITH other AS (INSERT INTO accounts (email, name) VALUES (:email::text, 'Other') RETURNING id)"
        " UPDATE webhook_deliveries SET account_id = other.id FROM other WHERE webhook_deliveries.id = :id::uuid"
        " RETURNING other.id",
        email=f"{uuid4()}@example.com",
        id=mine,
    )
    assert api.call("GET", f"/deliveries/{mine}").code == "not_found"
    assert api.call("POST", f"/deliveries/{mine}/retry").code == "not_found"
    assert listed(api, webhookId=webhook["id"])["items"] == []


def stats(api, webhook, window="1h"):
    answer = api.call("GET", f"/webhooks/{webhook['id']}/stats?window={window}")
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.parametrize(
    ("window", "count", "step"),
    [
        ("1h", 60, timedelta(minutes=1)),
        ("24h", 24, timedelta(hours=1)),
        ("7d", 28, timedelta(hours=6)),
        ("30d", 30, timedelta(days=1)),
    ],
)
def test_every_bucket_of_a_window_is_there(api, webhook, window, count, step):
    found = stats(api, webhook, window)
    assert found == {
        "window": window,
        **dict.fromkeys(("total", "succeeded", "dead", "pending", "skipped", "attempts"), 0),
        "successRate": None,
        "latencyMs": {"p50": None, "p95": None, "p99": None},
        "failures": [],
        "buckets": found["buckets"],
    }
    starts = [datetime.fromisoformat(bucket["start"]) for bucket in found["buckets"]]
    assert len(starts) == count
    assert {later - earlier for earlier, later in zip(starts, starts[1:])} == {step}
    assert starts[-1] <= datetime.now(UTC) < starts[-1] + 2 * step
    assert all((bucket["succeeded"], bucket["failed"]) == (0, 0) for bucket in found["buckets"])


def test_statistics_are_current(api, receiver, webhook):
    receiver.answers.put((500, {}))
    receiver.answers.put((404, {}))
    (first,) = api.send(webhook)
    api.wait_for(first, "succeeded")
    receiver.gate.clear()
    (second,) = api.send(webhook)
    receiver.got.get(timeout=60)
    found = stats(api, webhook)
    assert (found["total"], found["succeeded"], found["pending"], found["attempts"]) == (2, 1, 1, 3)
    assert found["successRate"] == 1.0
    assert found["failures"] == [{"errorClass": "http_4xx", "count": 1}, {"errorClass": "http_5xx", "count": 1}]
    assert sum(bucket["succeeded"] for bucket in found["buckets"]) == 1
    assert sum(bucket["failed"] for bucket in found["buckets"]) == 2
    assert 0 <= found["latencyMs"]["p50"] <= found["latencyMs"]["p95"] <= found["latencyMs"]["p99"]
    receiver.gate.set()
    api.wait_for(second, "succeeded")
    assert stats(api, webhook)["succeeded"] == 2


def test_percentiles_and_windows_are_those_of_the_attempts(api, webhook):
    api.sql(
        """
        WITH made AS (
            INSERT INTO webhook_deliveries (id, account_id, webhook_id, event_id, event_type, payload, status,
                                            created_at, completed_at)
            SELECT uuidv7(-n * interval '10 minutes'), account_id, id, uuidv7(), 'webhook.test', '{}', 'canceled',
                   now() - n * interval '10 minutes', now()
            FROM plugin_webhooks, generate_series(1, 1000) n WHERE id = :id::uuid RETURNING id, webhook_id, created_at
        )
        INSERT INTO webhook_attempts (delivery_id, webhook_id, number, trigger, started_at, duration_ms, timings,
                                      request_headers, response_headers)
        SELECT id, webhook_id, 1, 'schedule', created_at, row_number() OVER (), '{}', '{}', '{}' FROM made
        RETURNING number
        """,
        id=webhook["id"],
    )
    found = stats(api, webhook, "30d")
    assert found["latencyMs"] == {"p50": 500, "p95": 950, "p99": 990}
    assert (found["attempts"], found["total"]) == (1000, 1000)
    assert 5 <= stats(api, webhook, "1h")["attempts"] <= 6
    assert 138 <= stats(api, webhook, "24h")["attempts"] <= 144


def test_the_operators_views_tell_hours(api: Api, receiver, webhook):
    receiver.answers.put((500, {}))
    (delivery,) = api.send(webhook)
    api.wait_for(delivery, "succeeded")
    failed, succeeded = (attempt["startedAt"] for attempt in api.delivery(delivery)["attemptLog"])

    def told(view, at):
        hour = "hour = date_bin('1 hour', :at::timestamptz, timestamptz 'epoch')"
        return api.sql(f"SELECT * FROM webhook_{view}_by_hour WHERE {hour}", at=at)

    (success,) = told("success", api.delivery(delivery)["completedAt"])
    assert 0 < success["success_rate"] <= 1
    hours = {row["hour"]: row for at in (failed, succeeded) for row in told("latency", at)}.values()
    assert sum(row["attempts"] for row in hours) > sum(row["succeeded"] for row in hours) > 0
    assert all(row["p50_ms"] <= row["p99_ms"] for row in hours)
    assert ("http_5xx", 500) in [(row["error_class"], row["status_code"]) for row in told("failures", failed)]
