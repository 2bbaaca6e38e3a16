"""Signed URLs at the Cloud Storage stand-in: who may do what, until when, and from which page."""

import json
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from tests.local.storage_stand_in import BUCKET, START, Storage, begin
from tests.support import exchange
from tools.local import identity

ORIGIN = "https://dashboard.example"


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    running = Storage(tmp_path_factory.mktemp("storage"))
    running.bucket().blob("note").upload_from_string(b"hello", content_type="text/plain")
    yield running
    running.child.stop()


def refusal(answer):
    """Status, and the members of the XML error."""
    status, headers, body = answer
    assert headers.get_content_type() == "application/xml"
    error = ET.fromstring(body)
    assert error.tag == "Error"
    return status, {part.tag: part.text for part in error}


def test_a_signed_url_reads_writes_and_deletes(storage):
    headers = {"Content-Type": "text/plain"}
    assert exchange("PUT", storage.sign("mine", "PUT", headers=headers), b"hello", headers)[0] == 200
    status, headers, body = exchange("GET", storage.sign("mine", "GET"))
    assert (status, headers["Content-Type"], body) == (200, "text/plain", b"hello")
    assert exchange("DELETE", storage.sign("mine", "DELETE"))[0] == 204
    assert refusal(exchange("GET", storage.sign("mine", "GET")))[1]["Code"] == "NoSuchKey"


def test_a_url_may_say_how_the_browser_saves_it(storage):
    url = storage.sign("note", "GET", response_disposition='attachment; filename="note.txt"', response_type="image/png")
    _, headers, _ = exchange("GET", url)
    assert headers["Content-Disposition"] == 'attachment; filename="note.txt"'
    assert headers["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda s: s.sign("note", "GET", key=identity.generate_key_pem()), 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "GET", email="stranger@example.com"), 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "GET").replace("/note", "/other"), 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "GET").replace("/note", "/%6eote"), 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "GET") + "&more=1", 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "PUT"), 403, "SignatureDoesNotMatch"),
        (lambda s: s.sign("note", "GET").partition("?")[0], 403, "AccessDenied"),
        (lambda s: s.sign("note", "GET").replace("X-Goog-Date=", "X-Goog-Date=x"), 400, "MalformedSecurityHeader"),
        (
            lambda s: s.sign("note", "GET").replace("X-Goog-Expires=", "X-Goog-Expires=x"),
            400,
            "MalformedSecurityHeader",
        ),
        (
            lambda s: s.sign("note", "GET").replace("X-Goog-Expires=6", "X-Goog-Expires=%2B6"),
            400,
            "MalformedSecurityHeader",
        ),
        (
            lambda s: s.sign("note", "GET").replace("X-Goog-Signature=", "X-Goog-Signature=z"),
            400,
            "MalformedSecurityHeader",
        ),
        (lambda s: s.sign("note", "GET").replace("storage%2Fgoog4", "compute%2Fgoog4"), 400, "MalformedSecurityHeader"),
        (
            lambda s: s.sign("note", "GET").replace("SignedHeaders=host", "SignedHeaders=date"),
            400,
            "MalformedSecurityHeader",
        ),
    ],
)
def test_a_url_that_was_not_signed_so_is_refused(storage, change, status, code):
    got, error = refusal(exchange("GET", change(storage)))
    assert (got, error["Code"]) == (status, code), error


def test_a_wrong_signature_is_told_what_should_have_been_signed(storage):
    _, error = refusal(exchange("GET", storage.sign("note", "PUT")))
    assert error["StringToSign"].startswith("GOOG4-RSA-SHA256\n")
    assert error["CanonicalRequest"].startswith(f"GET\n/{BUCKET}/note\nX-Goog-Algorithm=GOOG4-RSA-SHA256&")


@pytest.mark.parametrize(
    ("age_s", "lifetime_s", "expected"),
    [
        (570, 600, (200, None)),
        (602, 600, (400, "ExpiredToken")),
        (-600, 600, (200, None)),
        (-1000, 600, (403, "RequestTimeTooSkewed")),
        (0, 7 * 86400, (200, None)),
        (6 * 86400, 7 * 86400, (200, None)),
        (8 * 86400, 7 * 86400, (400, "ExpiredToken")),
    ],
)
def test_a_url_is_good_from_its_date_until_its_expiry(storage, age_s, lifetime_s, expected):
    url = storage.sign("note", "GET", expires_s=lifetime_s, begins=datetime.now(UTC) - timedelta(seconds=age_s))
    answer = exchange("GET", url)
    assert (answer[0], refusal(answer)[1]["Code"] if answer[0] != 200 else None) == expected


def test_a_url_for_more_than_seven_days_is_refused(storage):
    url = storage.sign("note", "GET").replace("X-Goog-Expires=600", "X-Goog-Expires=604801")
    status, error = refusal(exchange("GET", url))
    assert (status, error["ParameterName"]) == (400, "x-goog-expires")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (START | {"Content-Type": "image/jpeg"}, 403, "SignatureDoesNotMatch"),
        (START | {"x-goog-meta-a": "b"}, 400, "MalformedSecurityHeader"),
        ({name: value for name, value in START.items() if name != "Content-Type"}, 400, "MalformedSecurityHeader"),
        ({name: value for name, value in START.items() if name != "x-goog-resumable"}, 400, "MalformedSecurityHeader"),
    ],
    ids=["another value", "one more", "one less", "no start"],
)
def test_the_signed_headers_must_be_there_as_they_were_signed(storage, headers, status, code):
    url = storage.sign("start", "RESUMABLE", headers=START)
    got, error = refusal(exchange("POST", url, headers=headers))
    assert (got, error["Code"]) == (status, code)


def test_spaces_in_a_signed_header_do_not_matter(storage):
    headers = {"Content-Type": "text/plain;  charset=utf-8"}
    url = storage.sign("spaces", "PUT", headers={"Content-Type": "text/plain; charset=utf-8"})
    assert exchange("PUT", url, b"x", headers)[0] == 200


@pytest.mark.parametrize(("length", "code"), [(0, "EntityTooSmall"), (1, None), (10, None), (11, "EntityTooLarge")])
def test_a_write_has_the_length_that_was_signed(storage, length, code):
    headers = {"x-goog-content-length-range": "1,10"}
    answer = exchange("PUT", storage.sign(f"length {length}", "PUT", headers=headers), b"x" * length, headers)
    assert (answer[0], refusal(answer)[1]["Code"] if code else None) == (400 if code else 200, code)


@pytest.mark.parametrize("value", ["x", "-1", "1.0"])
def test_a_precondition_that_is_no_number_is_not_ignored(storage, value):
    headers = {"x-goog-if-generation-match": value}
    url = storage.sign("note", "PUT", headers={"x-goog-if-generation-match": value})
    assert exchange("PUT", url, b"x", headers)[0] == 400
    assert storage.bucket().blob("note").download_as_bytes() == b"hello"


def test_any_page_may_use_a_signed_url_and_none_the_json_api(storage):
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    status, headers, _ = exchange("OPTIONS", f"{storage.url}/{BUCKET}/x", headers=asked)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert "PUT" in headers["Access-Control-Allow-Methods"]
    assert "x-goog-resumable" in headers["Access-Control-Allow-Headers"]
    status, headers, _ = exchange(
        "POST", storage.sign("page", "RESUMABLE", headers=START), headers=START | {"Origin": ORIGIN}
    )
    assert (status, "Location" in headers["Access-Control-Expose-Headers"]) == (201, True)
    assert exchange("GET", f"{storage.url}/storage/v1/b/{BUCKET}/o", headers={"Origin": ORIGIN})[0] == 403


def test_a_bucket_answers_only_the_pages_that_its_configuration_names(tmp_path):
    rules = [{"origin": [ORIGIN], "method": ["GET"], "responseHeader": ["ETag"], "maxAgeSeconds": 60}]
    (tmp_path / "cors.json").write_text(json.dumps(rules))
    storage = Storage(tmp_path, "--cors", str(tmp_path / "cors.json"))
    try:
        for origin, method, allowed in (
            (ORIGIN, "GET", ORIGIN),
            (ORIGIN, "PUT", None),
            ("https://evil.example", "GET", None),
        ):
            asked = {"Origin": origin, "Access-Control-Request-Method": method}
            status, headers, _ = exchange("OPTIONS", f"{storage.url}/{BUCKET}/x", headers=asked)
            assert (status, headers["Access-Control-Allow-Origin"]) == (200, allowed)
    finally:
        storage.child.stop()


def test_a_session_needs_no_signature_but_its_secret(storage):
    uri = begin(storage, "secret")
    assert exchange("PUT", uri, b"x", {"Content-Range": "bytes 0-0/1"})[0] == 200
    status, error = refusal(exchange("PUT", uri[:-5], b"x", {"Content-Range": "bytes 0-0/1"}))
    assert (status, error["Code"]) == (404, "NoSuchUpload")
