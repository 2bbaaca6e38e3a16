"""Uploads at their completion: whatever is not the declared picture is refused, and nothing of it stays."""

import base64
import hashlib
import io
import struct
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from tests.functions.conftest import SAMPLES
from tests.functions.test_renders import Account, damaged_png, objects
from tests.support import exchange


@pytest.fixture(scope="module")
def account(stack, new_account):
    return Account(stack, *new_account(10), None)


def picture(kind="PNG", size=(64, 40)):
    pixels = np.random.default_rng(5).integers(0, 255, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_metadata(size):
    """A JPEG whose size stands behind so many bytes of its camera's."""
    segment = b"\xff\xe5" + struct.pack(">H", 60_002) + bytes(60_000)
    return JPEG[:2] + segment * -(-size // 60_000) + JPEG[2:]


def bomb(width, height):
    """A PNG of a few hundred bytes that says to have so many pixels, and would be as many zeros."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1 << 16)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def archive():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("hello.txt", "hello")
    return out.getvalue()


def begin(account, data, kind="image/png", **declared):
    body = {"fileName": "a.png", "contentType": kind, "sizeBytes": len(data), "purpose": "snapshot"} | declared
    made = account.call("POST", "/uploads", body=body)
    assert made.status == 201, made.body
    return made.json


def send(upload, data):
    status, headers, body = exchange("POST", upload["transfer"]["url"], headers=upload["transfer"]["headers"])
    assert status == 201, body
    assert exchange("PUT", headers["Location"], data)[0] == 200


def complete(account, upload):
    return account.call("POST", f"/uploads/{upload['id']}/complete")


def sent(account, data, kind="image/png", **declared):
    upload = begin(account, data, kind, **declared)
    send(upload, data)
    return upload, complete(account, upload)


PNG, JPEG, WEBP = picture(), picture("JPEG"), picture("WEBP")
MD5 = base64.b64encode(hashlib.md5(PNG).digest()).decode()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp"), (JPEG + bytes(100), "image/jpeg"),
        ((SAMPLES / "room_depth.png").read_bytes(), "image/png"), (with_metadata(300_000), "image/jpeg"),
    ],
    ids=["png", "jpeg", "webp", "jpeg filled up with zeros", "16-bit png", "jpeg with much before its size"],
)  # fmt: skip
def test_a_picture_is_taken_and_told_as_it_was_found(account, data, kind):
    _, done = sent(account, data, kind)
    assert done.status == 200, done.body
    with Image.open(io.BytesIO(data)) as known:
        assert (done.json["width"], done.json["height"]) == known.size
    assert done.json["status"] == "ready"
    assert done.json["md5"] == base64.b64encode(hashlib.md5(data).digest()).decode()


@pytest.mark.parametrize(
    ("data", "kind", "declared", "code"),
    [
        (PNG[:-1], "image/png", {"sizeBytes": len(PNG)}, "upload_mismatch"),
        (PNG + b"\x00", "image/png", {"sizeBytes": len(PNG)}, "upload_mismatch"),
        (PNG[:-20] + bytes([PNG[-20] ^ 1]) + PNG[-19:], "image/png", {"md5": MD5}, "upload_mismatch"),
        (JPEG, "image/png", {}, "upload_mismatch"),
        (PNG, "image/webp", {}, "upload_mismatch"),
        (b"\x00", "image/png", {}, "upload_not_an_image"),
        (b"just text, and more of it", "image/png", {}, "upload_not_an_image"),
        (b"GIF89a" + bytes(60), "image/png", {}, "upload_not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", {}, "upload_not_an_image"),
        (PNG[:30], "image/png", {}, "upload_not_an_image"),
        (PNG[: len(PNG) // 2], "image/png", {}, "upload_not_an_image"),
        (JPEG[: len(JPEG) // 2], "image/jpeg", {}, "upload_not_an_image"),
        (WEBP[: len(WEBP) // 2], "image/webp", {}, "upload_not_an_image"),
        (PNG + archive(), "image/png", {}, "upload_not_an_image"),
        (JPEG + archive(), "image/jpeg", {}, "upload_not_an_image"),
        (WEBP + archive(), "image/webp", {}, "upload_not_an_image"),
        (JPEG + b"<script>alert(1)</script>", "image/jpeg", {}, "upload_not_an_image"),
        (b"GIF89a" + PNG, "image/png", {}, "upload_not_an_image"),
        (bomb(16_385, 10), "image/png", {}, "image_too_large"),
        (bomb(10, 16_385), "image/png", {}, "image_too_large"),
        (bomb(10_000, 10_001), "image/png", {}, "image_too_large"),
        (bomb(16_384, 16_384), "image/png", {}, "image_too_large"),
        (bomb(2**31 - 1, 2**31 - 1), "image/png", {}, "image_too_large"),
        (bomb(0, 10), "image/png", {}, "upload_not_an_image"),
    ],
    ids=[
        "a byte short", "a byte long", "a bit wrong", "another type", "a third type", "one byte", "text", "gif", "svg",
        "only a header", "half a png", "half a jpeg", "half a webp", "png and zip", "jpeg and zip", "webp and zip",
        "jpeg and page", "gif and png", "too wide", "too high", "a few pixels too many", "too many pixels", "absurd",
        "no pixels",
    ],
)  # fmt: skip
def test_what_is_not_the_declared_picture_is_refused_and_nothing_of_it_stays(account, data, kind, declared, code):
    upload, refused = sent(account, data, kind, **declared)
    assert (refused.status, refused.code) == (422, code), refused.body
    assert objects(account.stack, object_name(account, upload)) == []
    assert account.call("GET", f"/uploads/{upload['id']}").json["status"] == "pending"
    order = account.order(uploadId=upload["id"])
    assert (order.status, order.code) == (422, "upload_not_ready")


@pytest.mark.parametrize("size", [(16_384, 1), (1, 16_384), (10_000, 10_000)])
def test_a_picture_may_be_as_large_as_is_told(account, size):
    _, done = sent(account, bomb(*size))
    assert (done.status, done.json["width"], done.json["height"]) == (200, *size)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("sizeBytes", 1, 0), ("sizeBytes", 268_435_456, 268_435_457), ("fileName", "a" * 255, "a" * 256),
        ("fileName", "a", ""), ("md5", MD5, base64.b64encode(bytes(15)).decode()), ("contentType", "image/webp", "image/gif"),
    ],
)  # fmt: skip
def test_what_may_be_announced_has_its_bounds(account, field, good, bad):
    begin(account, PNG, **{field: good})
    body = {"fileName": "a.png", "contentType": "image/png", "sizeBytes": len(PNG), "purpose": "snapshot", field: bad}
    refused = account.call("POST", "/uploads", body=body)
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert refused.json["errors"][0]["field"] == field


def object_name(account, upload):
    return account.stack.sql("SELECT object_name FROM uploads WHERE id = :id::uuid", id=upload["id"])[0]["object_name"]


def test_an_upload_that_is_not_completed_within_a_day_expires_with_its_file_and_one_that_is_stays(account):
    ready, _ = sent(account, PNG)
    late = begin(account, PNG)
    created, expires = (datetime.fromisoformat(late[name]) for name in ("createdAt", "expiresAt"))
    assert expires - created == timedelta(days=1)
    send(late, PNG)
    account.stack.sql(
        "UPDATE uploads SET expires_at = now() WHERE id IN (:late::uuid, :ready::uuid) RETURNING 1",
        late=late["id"],
        ready=ready["id"],
    )
    end = time.monotonic() + 60
    while objects(account.stack, object_name(account, late)):
        assert time.monotonic() < end
        time.sleep(0.1)
    expired = account.call("GET", f"/uploads/{late['id']}").json
    assert (expired["status"], expired["transfer"]) == ("expired", None)
    assert complete(account, late).code == "upload_incomplete"
    assert account.call("GET", f"/uploads/{ready['id']}").json["status"] == "ready"
    assert objects(account.stack, object_name(account, ready))


def test_after_a_refusal_the_right_file_may_be_sent_to_the_same_upload(account):
    upload, refused = sent(account, damaged_png()[:-1], sizeBytes=len(PNG))
    assert refused.code == "upload_mismatch"
    again = account.call("GET", f"/uploads/{upload['id']}").json
    send(again, PNG)
    assert complete(account, upload).status == 200


def test_a_file_that_has_not_arrived_is_not_complete(account):
    upload = begin(account, PNG)
    refused = complete(account, upload)
    assert (refused.status, refused.code) == (409, "upload_incomplete")


def test_completing_again_and_at_once_gives_the_same(account):
    upload = begin(account, PNG, md5=MD5)
    send(upload, PNG)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: complete(account, upload), range(8)))
    assert [answer.status for answer in answers] == [200] * 8
    assert {answer.body for answer in answers} == {complete(account, upload).body}
    refused = account.call("DELETE", f"/uploads/{upload['id']}")
    assert (refused.status, refused.code) == (409, "upload_already_completed")


def test_a_finished_upload_is_not_written_over(account):
    upload = begin(account, PNG)
    send(upload, PNG)
    assert complete(account, upload).status == 200
    transfer = upload["transfer"]
    status, headers, _ = exchange("POST", transfer["url"], headers=transfer["headers"])
    if status == 201:
        status = exchange("PUT", headers["Location"], PNG[::-1])[0]
    assert status == 412


def test_a_canceled_upload_leaves_nothing_and_is_over(account):
    upload = begin(account, PNG)
    send(upload, PNG)
    assert account.call("DELETE", f"/uploads/{upload['id']}").status == 204
    assert account.call("DELETE", f"/uploads/{upload['id']}").status == 204
    refused = complete(account, upload)
    assert (refused.status, refused.code) == (409, "upload_incomplete")
    assert objects(account.stack, object_name(account, upload)) == []
