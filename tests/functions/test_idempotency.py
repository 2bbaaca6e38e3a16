"""Idempotency-Key: the same POST again does nothing again."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.support import request


def create(stack, key, name, **body):
    headers = {"X-API-Key": stack.api_key, "Idempotency-Key": key}
    return request(stack.base_url, "POST", "/projects", body={"name": name, **body}, **headers)


def fresh():
    return str(uuid4())


def test_the_same_request_again_gives_the_same_resource(stack):
    key, name = fresh(), fresh()
    first, again = create(stack, key, name), create(stack, key, name)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    assert first.headers["Idempotency-Replayed"] is None
    assert again.headers["Idempotency-Replayed"] == "true"


def test_another_request_under_the_same_key_is_refused(stack):
    key = fresh()
    create(stack, key, fresh())
    refused = create(stack, key, fresh())
    assert (refused.status, refused.code) == (422, "idempotency_mismatch")


def test_a_key_in_quotes_is_the_same_key(stack):
    key, name = fresh(), fresh()
    create(stack, key, name)
    assert create(stack, f'"{key}"', name).headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "\xe9"])
def test_a_malformed_key_is_refused(stack, key):
    assert create(stack, key, fresh()).code == "idempotency_key_invalid"


def test_a_refused_request_leaves_its_key_free(stack):
    key, name = fresh(), fresh()
    create(stack, fresh(), name)
    assert create(stack, key, name).code == "name_taken"
    assert create(stack, key, fresh()).status == 201


def test_of_many_at_once_one_does_the_work(stack):
    key, name = fresh(), fresh()
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: create(stack, key, name), range(16)))
    made = {answer.json["id"] for answer in answers if answer.status == 201}
    assert len(made) == 1
    assert {answer.code for answer in answers if answer.status != 201} <= {"idempotency_in_flight"}
    assert len(stack.sql("SELECT id FROM projects WHERE name = :name::text", name=name)) == 1


def test_a_key_is_the_accounts_own_and_a_day_old_one_is_free(stack):
    key, name = fresh(), fresh()
    create(stack, key, name)
    stack.sql(
        "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = :key::text RETURNING 1",
        key=key,
    )
    assert create(stack, key, fresh()).status == 201


def test_a_secret_is_never_replayed(stack):
    headers = {"X-API-Key": stack.api_key, "Idempotency-Key": fresh()}
    body = {"name": "once", "scopes": ["keys:read"]}
    assert request(stack.base_url, "POST", "/keys", body=body, **headers).status == 201
    again = request(stack.base_url, "POST", "/keys", body=body, **headers)
    assert (again.status, again.code) == (409, "secret_already_shown")


def test_a_render_needs_a_key(stack):
    body = {"uploadId": fresh(), "prompt": "a room"}
    refused = request(stack.base_url, "POST", "/renders", body=body, X_API_Key=stack.api_key)
    assert (refused.status, refused.code) == (400, "idempotency_key_required")
