"""What every endpoint must keep, over the endpoint table."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import request, send

TABLE = json.loads((Path(__file__).parents[2] / "terraform" / "functions.json").read_text())["functions"]
PUBLIC_TABLE = [row for row in TABLE if not row["internal"] and row["method"] != "*"]
GUARDED = [row for row in PUBLIC_TABLE if not row["public"]]
WITH_BODY = [row for row in PUBLIC_TABLE if row["method"] in ("POST", "PATCH")]
#: The smallest body of those that need one to get as far as looking for what their path names.
BODIES = {"webhooks_recover": {"since": "2026-01-31T12:00:00Z"}}
WITHOUT_BODY = [row for row in GUARDED if row["method"] in ("GET", "DELETE")]
WITH_ID = [row for row in GUARDED if "{" in row["path"]]


def by_name(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda row: row["name"])


def credential(stack, row):
    """What the endpoint accepts: a session where only a person may call it, an API key elsewhere."""
    if row["public"]:
        return {}
    if row["scope"] != "session":
        return {"Authorization": f"Bearer {stack.api_key}"}
    signed_in = request(stack.base_url, "POST", "/auth/signin", body={"email": stack.email, "password": stack.password})
    return {"Authorization": f"Bearer {signed_in.json['accessToken']}"}


def path(row, value=None):
    parts = row["path"].split("/")
    return "/".join((value or str(uuid4())) if part.startswith("{") else part for part in parts)


def assert_problem(answer, status, code):
    assert (answer.status, answer.code) == (status, code), answer.body
    problem = answer.json
    assert problem["status"] == status
    assert problem["requestId"] == answer.headers["X-Request-Id"]
    assert problem["title"]
    assert problem["type"]


@by_name(GUARDED)
def test_without_a_credential_there_is_a_challenge_and_no_error_in_it(stack, row):
    answer = request(stack.base_url, row["method"], path(row))
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "error" not in answer.headers["WWW-Authenticate"]


@by_name(GUARDED)
def test_no_answer_is_sniffed_or_kept_by_a_shared_cache(stack, row):
    answer = request(stack.base_url, row["method"], path(row), **credential(stack, row))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] in ("private, no-cache", "no-store")
    assert request(stack.base_url, row["method"], path(row)).headers["Cache-Control"] == "no-store"


@by_name(GUARDED)
@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("Authorization", "Bearer rq_sk_test_nonsense", "invalid_key"),
        ("Authorization", "Bearer not.a.token", "invalid_token"),
        ("Authorization", "Basic dXNlcjpwYXNz", "invalid_token"),
        ("X-API-Key", "nonsense", "invalid_key"),
    ],
)
def test_a_bad_credential_is_an_invalid_token(stack, row, header, value, code):
    answer = request(stack.base_url, row["method"], path(row), **{header: value})
    assert_problem(answer, 401, code)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@by_name(GUARDED)
@pytest.mark.parametrize(
    "names", [("Authorization", "X-API-Key"), ("Authorization",) * 2, ("X-API-Key",) * 2], ids=" and ".join
)
def test_two_credentials_are_refused(stack, row, names):
    prefix = {"Authorization": "Bearer "}
    both = [f"{name}: {prefix.get(name, '')}{stack.api_key}".encode() for name in names]
    assert_problem(send(stack.base_url, row["method"], path(row), both), 400, "multiple_credentials")


@by_name(WITH_BODY)
def test_malformed_json_is_told(stack, row):
    headers = credential(stack, row) | {"Idempotency-Key": str(uuid4())}
    answer = request(stack.base_url, row["method"], path(row), raw=b'{"a": ', **headers)
    assert_problem(answer, 400, "malformed_json")


@by_name(WITH_BODY)
@pytest.mark.parametrize("body", [{"noSuchField": 1}, [], "text", None, 1], ids=repr)
def test_a_body_of_another_shape_is_told(stack, row, body):
    headers = credential(stack, row) | {"Idempotency-Key": str(uuid4())}
    answer = request(stack.base_url, row["method"], path(row), raw=json.dumps(body).encode(), **headers)
    assert_problem(answer, 422, "invalid_request")
    assert answer.json["errors"]


@by_name(WITH_BODY)
def test_another_content_type_is_refused(stack, row):
    headers = credential(stack, row) | {"Content-Type": "text/plain"}
    answer = request(stack.base_url, row["method"], path(row), raw=b"{}", **headers)
    assert_problem(answer, 415, "unsupported_media_type")


@by_name(WITH_BODY)
def test_a_body_above_a_mebibyte_is_refused(stack, row):
    answer = request(stack.base_url, row["method"], path(row), raw=b" " * ((1 << 20) + 1), **credential(stack, row))
    assert_problem(answer, 413, "body_too_large")


def test_a_body_of_a_whole_mebibyte_is_accepted(stack):
    raw = json.dumps({"name": str(uuid4())}).encode().ljust(1 << 20)
    assert request(stack.base_url, "POST", "/projects", raw=raw, X_API_Key=stack.api_key).status == 201


@by_name(WITHOUT_BODY)
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", None),
        (b'{"limit": 1}', "application/json", 422),
        (b"{", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * ((1 << 20) + 1), "application/json", 413),
    ],
    ids=["empty", "field", "malformed", "type", "size"],
)
def test_where_no_body_is_wanted_none_is_passed_over(stack, row, body, kind, status):
    """Whatever its caller wanted by it did not happen, and it should know."""
    headers = credential(stack, row) | {"Content-Type": kind}
    answer = request(stack.base_url, row["method"], path(row), raw=body, **headers)
    bare = request(stack.base_url, row["method"], path(row), **credential(stack, row)).status
    assert answer.status == (status or bare), answer.body


@by_name(WITH_ID)
@pytest.mark.parametrize(
    "value",
    ["nonsense", "0", "%00", "01a20a21-6171-75c6-a2c9-7e0f599d04e", "' OR 1=1 --".replace(" ", "%20")],
)
def test_a_bad_id_is_not_found(stack, row, value):
    body = BODIES.get(row["name"])
    answer = request(stack.base_url, row["method"], path(row, value), body=body, **credential(stack, row))
    assert_problem(answer, 404, "not_found")


@by_name(WITH_ID)
def test_a_missing_id_is_not_found(stack, row):
    body = BODIES.get(row["name"])
    answer = request(stack.base_url, row["method"], path(row), body=body, **credential(stack, row))
    assert_problem(answer, 404, "not_found")


@by_name(PUBLIC_TABLE)
def test_another_method_is_answered_with_those_allowed(stack, row):
    answer = request(stack.base_url, "PUT", path(row))
    assert_problem(answer, 405, "method_not_allowed")
    assert row["method"] in answer.headers["Allow"].split(", ")


@by_name([row for row in PUBLIC_TABLE if row["method"] == "GET" and row["name"].endswith("_list")])
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_request"),
        ("limit=101", 422, "invalid_request"),
        ("limit=x", 422, "invalid_request"),
        ("nonsense=1", 422, "invalid_request"),
        ("limit=1&limit=2", 422, "invalid_request"),
        ("cursor=nonsense", 400, "cursor_invalid"),
        ("cursor=AAAAAAAAAAAAAAAAAAAAAB", 400, "cursor_invalid"),  # 16 bytes, written as none of ours
    ],
)
def test_a_lists_query_is_checked(stack, row, query, status, code):
    answer = request(stack.base_url, "GET", f"{row['path']}?{query}", **credential(stack, row))
    assert_problem(answer, status, code)


@by_name([row for row in TABLE if row["internal"]])
def test_a_task_is_not_run_from_outside(stack, row):
    for headers in (
        {},
        {"Authorization": f"Bearer {stack.api_key}"},
        {"Authorization": "Bearer a.b.SIGNATURE_REMOVED_BY_GOOGLE"},
    ):
        assert request(stack.base_url, "POST", row["path"], body={}, **headers).status in (401, 403, 404)


def test_an_unknown_path_is_not_found(stack):
    assert_problem(request(stack.base_url, "GET", "/nonsense"), 404, "not_found")


@pytest.mark.parametrize("sent", ["1", "req-1", "my-request-0001", "a.b_c-D", "x" * 128])
def test_a_request_id_is_taken_over_when_it_is_sane(stack, sent):
    assert request(stack.base_url, "GET", "/health", X_Request_Id=sent).headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["a b<script>", "x" * 129, "-", "a;b", "a\xe9", "rq_sk_test_" + "0" * 39])
def test_a_request_id_that_is_not_sane_is_replaced(stack, sent):
    answer = request(stack.base_url, "GET", "/health", X_Request_Id=sent)
    assert len(answer.headers["X-Request-Id"]) == 32
