"""Renders: ordered, waited for, canceled, expired, refused."""

import hashlib
import http.client
import json
import os
import signal
import struct
import time
import zlib
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client as StorageClient

from common.config import settings
from common.engines import choose
from tests.support import exchange, request
from tools.local.parts import pid_of

TIMEOUT_S = 60
#: Of each upload that an order may name, by the field's first word.
PURPOSES = {"": "snapshot", "depth": "depth", "normal": "normal"}


class Account:
    """An account of the stack, with a snapshot."""

    def __init__(self, stack, account_id, key, upload):
        self.stack, self.id, self.key, self.upload = stack, account_id, key, upload

    def call(self, method, path, **options):
        return request(self.stack.base_url, method, path, X_API_Key=self.key, **options)

    def order(self, idempotency_key=None, headers=None, **body):
        sent = {"Idempotency-Key": idempotency_key or str(uuid4()), **(headers or {})}
        return self.call("POST", "/renders", body={"uploadId": self.upload, "prompt": "a room", **body}, **sent)

    def get(self, render_id, **headers):
        return self.call("GET", f"/renders/{render_id}", **headers)

    def finished(self, render_id):
        return self.until(render_id, lambda render: render["terminal"])

    def until(self, render_id, true):
        end = time.monotonic() + TIMEOUT_S
        while not true(render := self.get(render_id).json):
            assert time.monotonic() < end, render
            time.sleep(0.02)
        return render

    def cancel(self, render_id):
        return self.call("POST", f"/renders/{render_id}/cancel")

    def credits(self):
        told = self.call("GET", "/credits").json
        return {name: told[name] for name in ("available", "held", "spent")}

    def entries(self):
        return [
            (e["kind"], e["amount"], e["availableAfter"]) for e in self.call("GET", "/credits/entries").json["items"]
        ]


@pytest.fixture
def account(stack, new_account, snapshot_of):
    account_id, key = new_account(100)
    return Account(stack, account_id, key, snapshot_of(key))


def port(stack, name):
    return json.loads((stack.data / "config.json").read_text())["ports"][name]


@contextmanager
def paused(stack):
    """The queue of renders, paused: what is ordered stays queued."""

    def turn(verb):
        conn = http.client.HTTPConnection("127.0.0.1", port(stack, "tasks"), timeout=10)
        conn.request("POST", f"/v2/projects/renderiq-local/locations/local/queues/renders:{verb}", b"{}")
        assert conn.getresponse().status == 200
        conn.close()

    turn("pause")
    try:
        yield
    finally:
        turn("resume")


def objects(stack, prefix):
    """Names in the bucket, listed by the real client."""
    address = {"api_endpoint": f"http://127.0.0.1:{port(stack, 'storage')}"}
    client = StorageClient("local", credentials=AnonymousCredentials(), client_options=address)
    try:
        return [blob.name for blob in client.list_blobs("renderiq-local", prefix=prefix)]
    finally:
        client.close()


def test_a_render_shows_its_output_with_a_thumbnail_and_until_when_it_is_kept(account):
    order = account.order(quality="draft")
    done = account.finished(order.json["id"])
    assert (done["status"], done["stage"], done["error"]) == ("succeeded", "succeeded", None)
    assert done["engine"] == {
        "name": "studio",
        "version": choose("studio").info.version,
        "ai": False,
        "deterministic": True,
    }
    picture, thumbnail = done["output"]["files"]
    assert (picture["role"], picture["width"], picture["height"]) == ("picture", 960, 600)
    assert (thumbnail["role"], thumbnail["width"], thumbnail["height"]) == ("thumbnail", 320, 200)
    for file in done["output"]["files"]:
        status, headers, data = exchange("GET", file["url"])
        assert (status, headers["Content-Type"]) == (200, file["contentType"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        assert file["expiresAt"].endswith(":00:00Z")
    kept_until, completed = (datetime.fromisoformat(t) for t in (done["output"]["availableUntil"], done["completedAt"]))
    assert kept_until - completed == timedelta(days=90)

    listed = account.call("GET", "/renders").json["items"][0]
    assert listed["id"] == done["id"]
    assert all("url" not in file for file in listed["output"]["files"])
    assert listed["thumbnailUrl"] == done["output"]["files"][1]["url"]


def test_what_a_render_costs_is_held_then_captured_and_each_is_an_entry(account):
    assert account.entries() == [("grant", 100, 100)]
    with paused(account.stack):
        order = account.order(quality="high")
        assert order.json["cost"] == {"quoted": 4, "charged": 0}
        assert account.credits() == {"available": 96, "held": 4, "spent": 0}
    assert account.finished(order.json["id"])["cost"] == {"quoted": 4, "charged": 4}
    assert account.credits() == {"available": 96, "held": 0, "spent": 4}
    assert account.entries() == [("capture", 4, 96), ("hold", 4, 96), ("grant", 100, 100)]
    assert account.call("GET", "/credits/entries").json["items"][0]["renderId"] == order.json["id"]


def test_entries_are_paged(account):
    with paused(account.stack):
        for _ in range(3):
            account.cancel(account.order(quality="draft").json["id"])
    seen, cursor = [], ""
    while cursor is not None:
        page = account.call("GET", f"/credits/entries?limit=2{cursor and '&cursor=' + cursor}").json
        seen += [entry["kind"] for entry in page["items"]]
        cursor = page["nextCursor"]
    assert seen == ["release", "hold"] * 3 + ["grant"]


def test_prices_are_told_by_quality_and_by_engine(account):
    told = account.call("GET", "/credits").json
    assert told["prices"] == {"draft": 1, "standard": 2, "high": 4}
    assert told["enginePrices"] == {"studio": told["prices"]}


def test_with_too_few_credits_nothing_is_made_and_the_key_stays_free(stack, new_account, snapshot_of):
    account_id, key = new_account(3)
    poor = Account(stack, account_id, key, snapshot_of(key))
    refused = poor.order("the-key", quality="high")
    assert (refused.status, refused.code) == (402, "insufficient_credits")
    assert (refused.json["required"], refused.json["available"]) == (4, 3)
    assert poor.call("GET", "/renders").json["items"] == []
    assert poor.credits() == {"available": 3, "held": 0, "spent": 0}
    assert poor.order("the-key", quality="draft").status == 202


def test_an_engine_that_is_named_and_missing_is_refused_and_nothing_is_charged(account):
    refused = account.order("some-key", engine="gemini")
    assert (refused.status, refused.code) == (503, "engine_unavailable")
    assert account.credits() == {"available": 100, "held": 0, "spent": 0}
    assert account.call("GET", "/renders").json["items"] == []
    assert account.order("some-key", engine="auto").json["engine"]["name"] == "studio"


@pytest.mark.parametrize("prefer", ["wait=30", 'respond-async, WAIT = "30"; x=y'])
def test_an_order_may_wait_for_its_picture(account, prefer):
    answer = account.order(quality="draft", headers={"Prefer": prefer})
    assert (answer.status, answer.json["status"]) == (202, "succeeded")
    assert answer.headers["Preference-Applied"] == "wait=30"


def test_a_wait_ends_with_its_time_and_is_at_most_half_a_minute(account):
    with paused(account.stack):
        order = account.order()
        started = time.monotonic()
        answer = account.get(order.json["id"], Prefer="wait=1")
        assert 0.9 < time.monotonic() - started < 10
        assert (answer.json["status"], answer.headers["Preference-Applied"]) == ("queued", "wait=1")
        assert answer.headers["Retry-After"]
        for unreadable in ("wait=", "wait=-1", "wait=soon", "nowait=5", ";;", "handling=lenient"):
            assert account.get(order.json["id"], Prefer=unreadable).headers["Preference-Applied"] is None
        account.cancel(order.json["id"])
    answer = account.get(order.json["id"], Prefer="wait=600")
    assert answer.headers["Preference-Applied"] == "wait=30"


def test_an_etag_stays_while_nothing_changed_and_changes_with_the_render(account):
    with paused(account.stack):
        order = account.order()
        etags = {account.get(order.json["id"]).headers["ETag"] for _ in range(3)}
        assert len(etags) == 1
        known = etags.pop()
        same = account.get(order.json["id"], If_None_Match=f'"other", W/{known}')
        assert (same.status, same.body, same.headers["ETag"]) == (304, b"", known)
        account.cancel(order.json["id"])
    changed = account.get(order.json["id"], If_None_Match=known)
    assert (changed.status, changed.json["status"]) == (200, "canceled")
    assert changed.headers["Retry-After"] is None


def test_a_render_that_was_not_begun_is_canceled_and_never_made(account):
    with paused(account.stack):
        order = account.order()
        canceled = account.cancel(order.json["id"])
        assert (canceled.status, canceled.json["status"], canceled.json["terminal"]) == (200, "canceled", True)
        assert canceled.json["cost"] == {"quoted": 2, "charged": 0}
        assert account.credits() == {"available": 100, "held": 0, "spent": 0}
    again = account.cancel(order.json["id"])
    assert (again.status, again.code) == (409, "render_already_finished")
    account.finished(account.order(quality="draft").json["id"])  # its task came before this one's
    assert account.get(order.json["id"]).json["startedAt"] is None
    assert account.entries()[2:] == [("release", 2, 100), ("hold", 2, 98), ("grant", 100, 100)]


def test_a_finished_render_is_not_canceled(account):
    render = account.order(quality="draft", headers={"Prefer": "wait=30"}).json
    refused = account.cancel(render["id"])
    assert (refused.status, refused.code) == (409, "render_already_finished")
    assert account.credits() == {"available": 99, "held": 0, "spent": 1}


def test_what_a_worker_brings_after_the_cancel_is_dropped_and_its_files_deleted(account):
    """The storage stands still while the result is being stored, so that the cancel comes before its end."""
    storage = pid_of("tools.local.storage", account.stack.data)
    order = account.order(quality="high").json
    account.until(order["id"], lambda render: render["stage"] not in ("queued", "fetching"))
    os.kill(storage, signal.SIGSTOP)
    try:
        account.until(order["id"], lambda render: render["stage"] == "storing")
        assert account.cancel(order["id"]).json["status"] == "canceled"
    finally:
        os.kill(storage, signal.SIGCONT)
    log, end = account.stack.data / "logs" / "gateway.log", time.monotonic() + TIMEOUT_S
    while f"event=render_dropped renderId={order['id']}" not in log.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    while objects(account.stack, f"renders/{account.id}/"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert account.get(order["id"]).json["output"] is None
    assert account.credits() == {"available": 100, "held": 0, "spent": 0}


def test_a_render_that_was_not_begun_within_an_hour_expires_and_is_not_charged(account):
    with paused(account.stack):
        order = account.order().json
        account.stack.sql(
            "UPDATE renders SET created_at = created_at - interval '61 minutes' WHERE id = :id::uuid RETURNING 1",
            id=order["id"],
        )
        expired = account.finished(order["id"])
    assert (expired["status"], expired["error"]["code"], expired["error"]["retryable"]) == ("expired", "expired", True)
    assert account.credits() == {"available": 100, "held": 0, "spent": 0}


def damaged_png():
    """A header and an end that are right, and nothing to decode in between."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 640, 400, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"nothing") + chunk(b"IEND", b"")


def test_a_picture_that_cannot_be_decoded_fails_with_its_reason_and_is_not_charged(account, tmp_path):
    path = tmp_path / "damaged.png"
    path.write_bytes(damaged_png())
    account.upload = account.stack.client(account.key).upload(path)["id"]
    render_id = account.order().json["id"]
    failed = account.finished(render_id)
    assert failed["status"] == "failed"
    (row,) = account.stack.sql("SELECT attempt FROM renders WHERE id = :id::uuid", id=render_id)
    assert row["attempt"] == 1, "another try would meet the same"
    assert failed["error"] == {
        "code": "snapshot_unreadable", "message": "The snapshot cannot be decoded.", "retryable": False,
    }  # fmt: skip
    assert (failed["cost"]["charged"], account.credits()["available"]) == (0, 100)


def test_an_upload_that_is_gone_fails_with_its_reason(account):
    account.stack.sql(
        "UPDATE uploads SET generation = generation + 1 WHERE id = :id::uuid RETURNING 1", id=account.upload
    )
    failed = account.finished(account.order().json["id"])
    assert (failed["status"], failed["error"]["code"], failed["error"]["retryable"]) == ("failed", "upload_gone", False)


def test_somebody_elses_render_is_not_there(account, new_account):
    order = account.order(quality="draft").json
    other = Account(account.stack, *new_account(10), None)
    for answer in (other.get(order["id"]), other.cancel(order["id"])):
        assert (answer.status, answer.code) == (404, "not_found")
    assert other.call("GET", "/renders").json["items"] == []


def test_another_upload_of_the_same_account_is_needed_for_each_purpose(account, snapshot_of):
    depth = snapshot_of(account.key, "room_depth", "depth")
    for body in ({"uploadId": depth}, {"depthUploadId": account.upload}, {"normalUploadId": str(uuid4())}):
        refused = account.order(**body)
        assert (refused.status, refused.code) == (422, "upload_not_ready")
        assert refused.json["errors"][0]["field"] == next(iter(body))
    done = account.finished(account.order(depthUploadId=depth, quality="draft").json["id"])
    assert done["status"] == "succeeded"


def test_an_order_refers_only_to_what_is_the_callers_own_and_usable(account, new_account, snapshot_of):
    other = Account(account.stack, *new_account(0), None)
    theirs = {f"{name}UploadId" if name else "uploadId": purpose for name, purpose in PURPOSES.items()}
    announced = {"fileName": "a.png", "contentType": "image/png", "sizeBytes": 9}
    for field, purpose in theirs.items():
        pending = account.call("POST", "/uploads", body={**announced, "purpose": purpose}).json["id"]
        ready = snapshot_of(other.key, "room_depth", purpose)
        for upload in (pending, ready):
            refused = account.order(**{field: upload})
            assert (refused.status, refused.code) == (422, "upload_not_ready"), (field, refused.body)
            assert [error["field"] for error in refused.json["errors"]] == [field]
    snapshot_as_normal = account.order(normalUploadId=account.upload)
    assert snapshot_as_normal.code == "upload_not_ready"


def test_a_callback_is_the_url_of_an_active_webhook_of_the_caller(account, new_account):
    other = Account(account.stack, *new_account(0), None)

    def register(owner, url):
        made = owner.call("POST", "/webhooks/register", body={"url": url, "events": ["webhook.test"]})
        assert made.status == 201, made.body
        return made.json["id"]

    mine, theirs, disabled, deleted = (f"http://127.0.0.1:9/{name}" for name in ("mine", "theirs", "disabled", "gone"))
    register(account, mine)
    register(other, theirs)
    account.call("PATCH", f"/webhooks/{register(account, disabled)}", body={"status": "disabled"})
    account.call("DELETE", f"/webhooks/{register(account, deleted)}")
    for url in (theirs, disabled, deleted, "http://127.0.0.1:9/nobodys"):
        refused = account.order(callbackUrl=url)
        assert (refused.status, refused.code) == (422, "callback_not_registered"), url
    assert account.call("GET", "/renders").json["items"] == []
    assert account.order(callbackUrl=mine, quality="draft").json["metadata"]["callbackUrl"] == mine


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("prompt", "x" * 4000, "x" * 4001), ("prompt", "x", ""), ("style", "x" * 100, "x" * 101), ("style", "x", ""),
        ("seed", 0, -1), ("seed", 2**31 - 1, 2**31), ("geometryFidelity", 0, -1), ("geometryFidelity", 100, 101),
    ],
)  # fmt: skip
def test_what_may_be_ordered_has_its_bounds_and_is_shown_as_it_was_sent(account, field, good, bad):
    refused = account.order(**{field: bad})
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert refused.json["errors"][0]["field"] == field
    order = account.order(quality="draft", **{field: good})
    assert (order.status, order.json[field]) == (202, good)


def test_many_orders_at_once_may_ask_less_often(stack):
    """The share of the default limit that honest polling of 40 open renders may take."""
    from common.domain.render_views import _poll_after

    told = [_poll_after({"status": "queued", "open": n}) for n in (1, 3, 40, 300)]
    assert told == sorted(told)
    a_minute = min(settings().user_rate, settings().platform_rate)
    assert [60 / seconds * n <= a_minute for n, seconds in zip((1, 3, 40, 300), told, strict=True)] == [True] * 4
