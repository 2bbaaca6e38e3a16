"""The Cloud Storage stand-in, by the real client library and by raw requests to signed URLs."""

import base64
import hashlib
import http.client
import os
import signal
import socket
import time
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.auth.crypt import RSASigner
from google.cloud.storage import Client
from google.oauth2.service_account import Credentials

from tools.local import identity
from tools.local.processes import Child

BUCKET, EMAIL = "pictures", "signer@example.iam.gserviceaccount.com"
QUANTUM = 256 << 10


class Storage:
    """A running stand-in, and what is needed to talk to it."""

    def __init__(self, folder):
        self.folder = folder
        self.key = identity.generate_key_pem()
        (folder / "key.pub").write_text(identity.public_pem(self.key))
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        flags = ["--port", str(self.port), "--data", str(self.folder / "data"), "--bucket", BUCKET]
        flags += ["--signer", f"{EMAIL}={self.folder / 'key.pub'}"]
        self.child = Child("storage", "tools.local.storage", flags, self.folder / "log")
        self.child.wait_until(self.answers)

    def answers(self):
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        os.kill(self.child._process.pid, signal.SIGKILL)
        self.child.stop()

    def bucket(self):
        client = Client("test", credentials=AnonymousCredentials(), client_options={"api_endpoint": self.url})
        return client.bucket(BUCKET)

    def sign(self, name, method, *, headers=None, expires_s=600, key=None):
        signer = RSASigner.from_string(key or self.key)
        return (
            self.bucket()
            .blob(name)
            .generate_signed_url(
                version="v4",
                expiration=timedelta(seconds=expires_s),
                method=method,
                headers=dict(headers or {}),
                credentials=Credentials(signer, EMAIL, ""),
                api_access_endpoint=self.url,
            )
        )


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    running = Storage(tmp_path_factory.mktemp("storage"))
    yield running
    running.child.stop()


def exchange(method, url, body=b"", headers=None):
    """Status, headers and body of one request."""
    parts = urlsplit(url)
    conn = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        conn.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        response = conn.getresponse()
        return response.status, response.headers, response.read()
    finally:
        conn.close()


START = {"Content-Type": "image/png", "x-goog-resumable": "start", "x-goog-if-generation-match": "0"}


def begin(storage, name):
    """The URI of a new resumable session."""
    status, headers, body = exchange("POST", storage.sign(name, "RESUMABLE", headers=START), headers=START)
    assert status == 201, body
    return headers["Location"]


def put(uri, data, start, total):
    end = start + len(data) - 1
    return exchange("PUT", uri, data, {"Content-Range": f"bytes {start}-{end}/{total}"})


def ask(uri, total="*"):
    status, headers, _ = exchange("PUT", uri, b"", {"Content-Range": f"bytes */{total}"})
    return status, headers.get("Range")


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


def test_a_signed_url_reads_and_writes(storage):
    headers = {"Content-Type": "text/plain"}
    assert exchange("PUT", storage.sign("note", "PUT", headers=headers), b"hello", headers)[0] == 200
    status, headers, body = exchange("GET", storage.sign("note", "GET"))
    assert (status, headers["Content-Type"], body) == (200, "text/plain", b"hello")
    status, headers, body = exchange("GET", storage.sign("note", "GET"), headers={"Range": "bytes=1-3"})
    assert (status, headers["Content-Range"], body) == (206, "bytes 1-3/5", b"ell")
    assert exchange("GET", storage.sign("note", "GET"), headers={"Range": "bytes=9-"})[0] == 416


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda s: s.sign("note", "GET", key=identity.generate_key_pem()), 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "GET").replace("/note", "/other"), 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "GET") + "&more=1", 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "PUT"), 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "GET").partition("?")[0], 403, "AccessDenied"),
        (lambda s: s.sign("note", "GET").replace("X-Goog-Date=", "X-Goog-Date=x"), 400, "AuthenticationRequired"),
    ],
    ids=["another key", "another object", "one more parameter", "another method", "no signature", "malformed"],
)
def test_a_url_that_was_not_signed_so_is_refused(storage, change, status, code):
    got, _, body = exchange("GET", change(storage))
    assert (got, code in body.decode()) == (status, True), body


def test_an_expired_url_is_refused(storage):
    url = storage.sign("note", "GET", expires_s=1)
    time.sleep(2.1)
    status, _, body = exchange("GET", url)
    assert (status, b"ExpiredToken" in body) == (400, True)


def test_headers_that_were_not_signed_so_are_refused(storage):
    url = storage.sign("start", "RESUMABLE", headers=START)
    assert exchange("POST", url, headers={**START, "Content-Type": "image/jpeg"})[0] == 403
    assert exchange("POST", url, headers={**START, "x-goog-meta-a": "b"})[0] == 400


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
    end = time.monotonic() + 5
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


def test_a_canceled_session_is_gone(storage):
    uri = begin(storage, "canceled")
    assert exchange("DELETE", uri)[0] == 499
    assert ask(uri)[0] == 410
    assert exchange("PUT", uri.replace("upload_id=", "upload_id=x"))[0] == 404


@pytest.mark.parametrize("content_range", ["bytes 0-9/5", "bytes 5-1/10", "nonsense", "bytes 0-0/1"])
def test_a_content_range_that_does_not_fit_is_refused(storage, content_range):
    uri = begin(storage, f"range {content_range}")
    assert exchange("PUT", uri, b"1234567890", {"Content-Range": content_range})[0] == 400


def test_a_session_for_an_object_that_exists_is_refused(storage):
    storage.bucket().blob("there").upload_from_string(b"x")
    status, _, body = exchange("POST", storage.sign("there", "RESUMABLE", headers=START), headers=START)
    assert (status, b"PreconditionFailed" in body) == (412, True)


def test_browsers_may_upload_and_not_use_the_json_api(storage):
    origin = {"Origin": "https://dashboard.example"}
    _, headers, _ = exchange("OPTIONS", f"{storage.url}/{BUCKET}/x", headers=origin)
    assert headers["Access-Control-Allow-Origin"] == "https://dashboard.example"
    assert "PUT" in headers["Access-Control-Allow-Methods"]
    assert exchange("GET", f"{storage.url}/storage/v1/b/{BUCKET}/o", headers=origin)[0] == 403
