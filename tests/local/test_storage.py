"""The Cloud Storage stand-in, by the real client library and by raw requests."""

import base64
import hashlib
import json
import os
import socket
import sqlite3
import time
from urllib.parse import urlsplit

import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage import transfer_manager

from tests.local.storage_stand_in import BUCKET, QUANTUM, START, Storage, ask, begin, put
from tests.support import exchange


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    running = Storage(tmp_path_factory.mktemp("storage"))
    yield running
    running.child.stop()


def test_what_the_client_stores_it_finds_reads_lists_and_deletes(storage):
    bucket, data = storage.bucket(), os.urandom(100_000)
    blob = bucket.blob("folder/a picture.png")
    blob.upload_from_string(data, content_type="image/png", checksum="md5")
    found = bucket.get_blob("folder/a picture.png")
    assert (found.size, found.content_type) == (len(data), "image/png")
    assert found.md5_hash == base64.b64encode(hashlib.md5(data).digest()).decode()
    assert found.download_as_bytes() == data
    assert found.download_as_bytes(start=10, end=19) == data[10:20]
    assert [item.name for item in bucket.list_blobs(prefix="folder/")] == ["folder/a picture.png"]
    found.delete()
    assert bucket.get_blob("folder/a picture.png") is None
    with pytest.raises(NotFound):
        found.delete()


def test_a_large_file_goes_up_resumably_by_the_client(storage, tmp_path):
    source = tmp_path / "large"
    source.write_bytes(os.urandom(3 << 20))
    blob = storage.bucket().blob("large", chunk_size=1 << 20)
    blob.upload_from_filename(source)
    assert blob.size == 3 << 20
    assert storage.bucket().blob("large").download_as_bytes() == source.read_bytes()


def test_a_generation_that_is_not_the_one_wanted_is_refused(storage):
    blob = storage.bucket().blob("once")
    blob.upload_from_string(b"first", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        storage.bucket().blob("once").upload_from_string(b"second", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        blob.delete(if_generation_match=1)
    with pytest.raises(NotFound):
        storage.bucket().blob("once", generation=1).download_as_bytes()


def test_the_client_downloads_in_parts(storage, tmp_path):
    data = os.urandom(5 << 20)
    blob = storage.bucket().blob("parts")
    blob.upload_from_string(data)
    transfer_manager.download_chunks_concurrently(
        blob, tmp_path / "parts", chunk_size=1 << 20, worker_type=transfer_manager.THREAD
    )
    assert (tmp_path / "parts").read_bytes() == data


def test_names_are_any_text(storage):
    for name in ("a b/c+d%2F.png", "Bücher/ß?#&=.png", "trailing/", "..hidden", "日本"):
        blob = storage.bucket().blob(name)
        blob.upload_from_string(name)
        assert storage.bucket().get_blob(name).download_as_text() == name
        assert exchange("GET", storage.sign(name, "GET"))[2].decode() == name


def test_each_write_is_a_new_generation(storage):
    blob = storage.bucket().blob("generations")
    blob.upload_from_string(b"one")
    first = blob.generation
    blob.upload_from_string(b"two")
    assert blob.generation > first
    with pytest.raises(NotFound):
        storage.bucket().blob("generations", generation=first).download_as_bytes()
    assert storage.bucket().get_blob("generations", if_generation_match=blob.generation).size == 3
    for wrong in ({"if_generation_match": first}, {"if_metageneration_match": 2}):
        with pytest.raises(PreconditionFailed):
            storage.bucket().get_blob("generations", **wrong)


def test_a_write_whose_checksum_is_another_changes_nothing(storage):
    blob = storage.bucket().blob("checked")
    blob.upload_from_string(b"before")
    url = f"{storage.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=checked"
    for wrong in (
        {"x-goog-hash": "crc32c=AAAAAA=="},
        {"x-goog-hash": f"md5={'A' * 22}=="},
        {"Content-MD5": "A" * 22 + "=="},
    ):
        status, _, body = exchange("POST", url, b"after", wrong)
        assert (status, json.loads(body)["error"]["code"]) == (400, 400)
    assert storage.bucket().blob("checked").download_as_bytes() == b"before"


def test_a_resumable_upload_whose_checksum_is_another_is_no_object(storage):
    uri, data = begin(storage, "wrong sum"), os.urandom(QUANTUM)
    sums = {"x-goog-hash": f"md5={base64.b64encode(hashlib.md5(b'other').digest()).decode()}"}
    span = {"Content-Range": f"bytes 0-{QUANTUM - 1}/{QUANTUM}"}
    status, _, body = exchange("PUT", uri, data, span | sums)
    assert (status, b"BadDigest" in body) == (400, True)
    assert storage.bucket().get_blob("wrong sum") is None


def test_a_write_that_is_cut_short_changes_nothing(storage):
    storage.bucket().blob("cut write").upload_from_string(b"before")
    parts = urlsplit(storage.sign("cut write", "PUT"))
    with socket.create_connection((parts.hostname, parts.port)) as conn:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 1000\r\n\r\n"
        conn.sendall(head.encode() + b"x" * 500)
        conn.shutdown(socket.SHUT_WR)
        with conn.makefile("rb") as answer:
            assert b"IncompleteBody" in answer.read()
    assert storage.bucket().blob("cut write").download_as_bytes() == b"before"


@pytest.mark.parametrize("length", ["Content-Length: x", "Content-Length: -1", "Transfer-Encoding: chunked"])
def test_behind_a_body_of_no_known_length_no_request_is_read(storage, length):
    url = urlsplit(storage.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as conn:
        conn.sendall(f"PUT /x HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\nGET /y HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answers = b"".join(iter(lambda: conn.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 411 ")


def test_a_list_has_pages_prefixes_and_folders(storage):
    names = [f"list/{n:02}.png" for n in range(7)] + ["list/a/1", "list/a/2", "list/b/1"]
    for name in (*names, "lisu"):
        storage.bucket().blob(name).upload_from_string(b"")
    assert [blob.name for blob in storage.bucket().list_blobs(prefix="list/", page_size=3)] == names
    for page_size in (1, 2, 100):
        found = storage.bucket().list_blobs(prefix="list/", delimiter="/", page_size=page_size)
        assert [blob.name for blob in found] == names[:7]
        assert found.prefixes == {"list/a/", "list/b/"}


@pytest.mark.parametrize(
    ("asked", "status", "content", "span"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=3-5", 206, b"345", "bytes 3-5/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-100", 206, b"789", "bytes 7-9/10"),
        ("bytes=-4", 206, b"6789", "bytes 6-9/10"),
        ("bytes=-100", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=0-", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-3", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("items=0-1", 200, b"0123456789", None),
    ],
)
def test_a_range_is_read_as_http_has_it(storage, asked, status, content, span):
    storage.bucket().blob("digits").upload_from_string(b"0123456789")
    for url in (storage.sign("digits", "GET"), f"{storage.url}/storage/v1/b/{BUCKET}/o/digits?alt=media"):
        got, headers, body = exchange("GET", url, headers={"Range": asked})
        assert (got, headers["Content-Range"]) == (status, span)
        assert content is None or body == content


def test_an_object_tells_its_facts_in_headers(storage):
    storage.bucket().blob("facts").upload_from_string(b"hello", content_type="text/plain")
    status, headers, body = exchange("HEAD", storage.sign("facts", "GET"))
    assert (status, body, headers["Content-Length"]) == (200, b"", "5")
    assert headers["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert headers["x-goog-hash"] == "crc32c=mnG7TA==,md5=XUFAKrxLKna5cZ2REBfFkg=="
    assert headers["x-goog-stored-content-length"] == "5"
    assert int(headers["x-goog-generation"]) > 1e15
    assert exchange("GET", storage.sign("facts", "GET"), headers={"If-None-Match": headers["ETag"]})[0] == 304


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", f"/storage/v1/b/{BUCKET}/o/missing", b"", 404, "notFound"),
        ("GET", "/storage/v1/b/another/o/missing", b"", 404, "notFound"),
        ("DELETE", f"/storage/v1/b/{BUCKET}/o/missing", b"", 404, "notFound"),
        ("GET", f"/storage/v1/b/{BUCKET}/o?maxResults=x", b"", 400, "invalid"),
        ("GET", f"/storage/v1/b/{BUCKET}/o?pageToken=%ff", b"", 400, "invalid"),
        ("DELETE", f"/storage/v1/b/{BUCKET}/o/here?ifGenerationMatch=x", b"", 400, "invalid"),
        ("DELETE", f"/storage/v1/b/{BUCKET}/o/here?ifGenerationMatch=1", b"", 412, "conditionNotMet"),
        ("PATCH", f"/storage/v1/b/{BUCKET}/o/here", b"{}", 405, "methodNotAllowed"),
        ("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media", b"x", 400, "invalid"),
        ("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=other&name=x", b"x", 400, "invalid"),
        ("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable", b"nonsense", 400, "invalid"),
        ("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart", b"nonsense", 400, "invalid"),
    ],
)
def test_the_json_api_refuses_in_its_documented_form(storage, method, path, body, status, reason):
    storage.bucket().blob("here").upload_from_string(b"x")
    got, headers, content = exchange(method, storage.url + path, body)
    error = json.loads(content)["error"]
    assert (got, error["code"], error["errors"][0]["reason"]) == (status, status, reason)
    assert headers.get_content_type() == "application/json"


def test_what_has_not_changed_is_not_read_again(storage):
    blob = storage.bucket().blob("unchanged")
    blob.upload_from_string(b"x")
    url = f"{storage.url}/storage/v1/b/{BUCKET}/o/unchanged?ifGenerationNotMatch="
    assert exchange("GET", f"{url}{blob.generation}")[0] == 304
    assert exchange("GET", f"{url}1")[0] == 200


def test_an_object_that_is_there_may_not_be_written_over_by_a_client_that_wants_it_new(storage, tmp_path):
    storage.bucket().blob("new").upload_from_string(b"x")
    (tmp_path / "new").write_bytes(os.urandom(QUANTUM * 2))
    with pytest.raises(PreconditionFailed):
        storage.bucket().blob("new", chunk_size=QUANTUM).upload_from_filename(tmp_path / "new", if_generation_match=0)
    assert storage.bucket().blob("new").download_as_bytes() == b"x"


def test_a_session_keeps_whole_chunks_and_tells_how_far_it_is(storage):
    uri, data = begin(storage, "chunks"), os.urandom(2 * QUANTUM + 100)
    assert ask(uri) == (308, None)
    status, headers, _ = put(uri, data[:QUANTUM], 0, len(data))
    assert (status, headers["Range"]) == (308, f"bytes=0-{QUANTUM - 1}")
    assert ask(uri, len(data)) == (308, f"bytes=0-{QUANTUM - 1}")
    status, headers, _ = put(uri, data[QUANTUM:], QUANTUM, len(data))
    assert status == 200
    assert storage.bucket().blob("chunks").download_as_bytes() == data
    assert ask(uri, len(data))[0] == 200


def test_of_a_chunk_that_leaves_a_gap_nothing_is_kept(storage):
    uri = begin(storage, "gap")
    status, headers, _ = put(uri, b"x" * QUANTUM, QUANTUM, 3 * QUANTUM)
    assert (status, headers.get("Range")) == (308, None)


def test_an_overlapping_chunk_goes_on_where_the_session_is(storage):
    uri, data = begin(storage, "overlap"), os.urandom(2 * QUANTUM)
    put(uri, data[:QUANTUM], 0, len(data))
    assert put(uri, data[100:], 100, len(data))[0] == 200
    assert storage.bucket().blob("overlap").download_as_bytes() == data


def test_of_a_chunk_that_was_cut_short_whole_quanta_are_kept(storage):
    uri, data = begin(storage, "cut"), os.urandom(4 * QUANTUM)
    parts = urlsplit(uri)
    with socket.create_connection((parts.hostname, parts.port)) as conn:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(data)}\r\n"
        conn.sendall(f"{head}Content-Range: bytes 0-{len(data) - 1}/{len(data)}\r\n\r\n".encode())
        conn.sendall(data[: 2 * QUANTUM + 5000])
    end = time.monotonic() + 60
    while (answer := ask(uri, len(data))) == (308, None) and time.monotonic() < end:
        time.sleep(0.05)
    assert answer == (308, f"bytes=0-{2 * QUANTUM - 1}")
    assert put(uri, data[2 * QUANTUM :], 2 * QUANTUM, len(data))[0] == 200
    assert storage.bucket().blob("cut").download_as_bytes() == data


def test_a_session_survives_that_the_server_is_killed(tmp_path):
    storage = Storage(tmp_path)
    uri, data = begin(storage, "killed"), os.urandom(2 * QUANTUM)
    put(uri, data[:QUANTUM], 0, len(data))
    storage.kill()
    storage.start()
    assert ask(uri, len(data)) == (308, f"bytes=0-{QUANTUM - 1}")
    assert put(uri, data[QUANTUM:], QUANTUM, len(data))[0] == 200
    assert storage.bucket().blob("killed").download_as_bytes() == data
    storage.child.stop()


def test_of_an_object_that_was_cut_short_by_a_kill_nothing_stays(tmp_path):
    storage = Storage(tmp_path)
    files, url = tmp_path / "data" / "files", urlsplit(storage.sign("never", "PUT"))
    with socket.create_connection((url.hostname, url.port)) as conn:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 100\r\n\r\n"
        conn.sendall(f"{head}half".encode())
        end = time.monotonic() + 60
        while not list(files.iterdir()) and time.monotonic() < end:
            time.sleep(0.01)
        assert len(list(files.iterdir())) == 1
        storage.kill()
    storage.start()
    assert list(files.iterdir()) == []
    storage.child.stop()


def test_a_session_ends_after_a_week_and_leaves_nothing(tmp_path):
    storage = Storage(tmp_path)
    storage.bucket().blob("there").upload_from_string(b"x")
    uri = begin(storage, "old")
    put(uri, bytes(QUANTUM), 0, 2 * QUANTUM)
    with sqlite3.connect(tmp_path / "data" / "index.sqlite") as db:
        db.execute("UPDATE sessions SET created = created - 7 * 86400 - 1")
    db.close()
    assert ask(uri)[0] == 410
    storage.kill()
    storage.start()
    assert ask(uri)[0] == 404
    assert [file.read_bytes() for file in (tmp_path / "data" / "files").iterdir()] == [b"x"]
    storage.child.stop()


def test_a_canceled_session_is_gone(storage):
    uri = begin(storage, "canceled")
    assert exchange("DELETE", uri)[0] == 499
    assert ask(uri)[0] == 410
    assert exchange("PUT", uri.replace("upload_id=", "upload_id=x"))[0] == 404


@pytest.mark.parametrize("content_range", ["bytes 0-9/5", "bytes 5-1/10", "nonsense", "bytes 0-0/1", "bytes 0-9/20"])
def test_a_content_range_that_does_not_fit_is_refused(storage, content_range):
    uri = begin(storage, f"range {content_range}")
    status, _, body = exchange("PUT", uri, b"1234567890", {"Content-Range": content_range})
    assert (status, b"InvalidArgument" in body) == (400, True)


def test_a_chunk_that_is_not_the_last_has_at_least_256_kib(storage):
    uri = begin(storage, "small chunk")
    status, _, body = exchange("PUT", uri, b"x" * 1024, {"Content-Range": "bytes 0-1023/*"})
    assert (status, b"required to be equal or greater than 262144" in body) == (400, True)


def test_a_size_that_is_told_at_the_end_ends_the_upload(storage):
    uri, data = begin(storage, "unknown size"), os.urandom(QUANTUM)
    assert exchange("PUT", uri, data, {"Content-Range": f"bytes 0-{QUANTUM - 1}/*"})[0] == 308
    assert exchange("PUT", uri, b"", {"Content-Range": f"bytes */{QUANTUM}"})[0] == 200
    assert storage.bucket().blob("unknown size").download_as_bytes() == data


def test_more_bytes_than_the_total_are_no_object(storage):
    uri, data = begin(storage, "too long"), os.urandom(2 * QUANTUM)
    assert exchange("PUT", uri, data, {"Content-Range": f"bytes 0-{len(data) - 1}/*"})[0] == 308
    assert ask(uri, QUANTUM) == (308, f"bytes=0-{len(data) - 1}")
    assert put(uri, data[:100], 0, 100)[0] == 308
    assert not storage.bucket().blob("too long").exists()
    assert ask(uri, len(data))[0] == 200


def test_the_total_that_was_told_first_stays(storage):
    headers = START | {"x-upload-content-length": str(QUANTUM + 1)}
    started = exchange("POST", storage.sign("told", "RESUMABLE", headers=headers), headers=headers)
    uri, data = started[1]["Location"], os.urandom(2 * QUANTUM)
    assert exchange("PUT", uri, data, {"Content-Range": f"bytes 0-{len(data) - 1}/*"})[0] == 400
    assert put(uri, data, 0, len(data))[0] == 400
    assert put(uri, data[: QUANTUM + 1], 0, QUANTUM + 1)[0] == 200


def test_a_session_for_an_object_that_exists_is_refused(storage):
    storage.bucket().blob("there").upload_from_string(b"x")
    status, _, body = exchange("POST", storage.sign("there", "RESUMABLE", headers=START), headers=START)
    assert (status, b"PreconditionFailed" in body) == (412, True)


def test_of_two_sessions_for_one_new_object_the_second_to_finish_is_refused(storage):
    first, second = begin(storage, "race"), begin(storage, "race")
    assert put(first, b"first", 0, 5)[0] == 200
    assert put(second, b"other", 0, 5)[0] == 412
    assert storage.bucket().blob("race").download_as_bytes() == b"first"
