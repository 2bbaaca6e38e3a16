"""Idempotency-Key: the same POST again does nothing again."""

import importlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.functions.creating import BODIES, filled
from tests.functions.test_every_endpoint import PUBLIC_TABLE
from tests.functions.test_sign_in import until_it_waits_or_is
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
    later(stack, key, 23)
    assert create(stack, key, name).headers["Idempotency-Replayed"] == "true"
    later(stack, key, 2)
    assert create(stack, key, fresh()).status == 201


def later(stack, key, hours):
    """As if the key's record had those hours behind it."""
    stack.sql(
        "UPDATE idempotency_keys SET created_at = created_at - :by::interval WHERE key = :key::text RETURNING 1",
        by=timedelta(hours=hours),
        key=key,
    )


def test_while_the_first_request_runs_the_key_is_in_flight_for_its_account_only(stack, new_account):
    """The first one waits for somebody who is about to take its name, and then does not."""
    key, name, conn = fresh(), fresh(), stack.connect()
    _, others_key = new_account(0)
    try:
        with ThreadPoolExecutor(1) as thread:
            with pytest.raises(ZeroDivisionError), conn.transaction():
                conn.rows(
                    "INSERT INTO projects (account_id, name)"
                    " SELECT id, :name::text FROM accounts WHERE email = :email::text RETURNING 1",
                    name=name,
                    email=stack.email,
                )
                first = thread.submit(create, stack, key, name)
                until_it_waits_or_is(first, stack)
                second = create(stack, key, name)
                sent = {"X-API-Key": others_key, "Idempotency-Key": key}
                others = request(stack.base_url, "POST", "/projects", body={"name": name}, **sent)
                _ = 1 / 0
            assert first.result().status == 201
    finally:
        conn.close()
    assert (second.status, second.code) == (409, "idempotency_in_flight")
    assert (others.status, others.headers["Idempotency-Replayed"]) == (201, None)
    again = request(stack.base_url, "POST", "/projects", body={"name": name}, **sent)
    assert (again.json["id"], again.headers["Idempotency-Replayed"]) == (others.json["id"], "true")


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


SECRET = {"keys_create", "webhooks_register"}


def spec(row):
    return importlib.import_module(f"functions.{row['name']}.main").main.spec


#: Those that do something with what is there already are tested beside what they do.
CREATING = [row for row in PUBLIC_TABLE if row["method"] == "POST" and spec(row).replay and "{" not in row["path"]]


@pytest.fixture(scope="module")
def caller(new_account, snapshot_of):
    _, key = new_account(1000)
    return key, snapshot_of(key)


@pytest.fixture(params=CREATING, ids=lambda row: row["name"])
def post(request, stack, caller):  # `request` is pytest's own here
    """Calls one of the creating POSTs: with a key, and with a word that makes the body another one."""
    row, (api_key, upload) = request.param, caller

    def call(key, word, **more):
        body = filled(BODIES[row["name"]], {"word": word, "uploadId": upload})
        return send(stack, row, body | more, {"X-API-Key": api_key, "Idempotency-Key": key})

    call.row, call.secret = row, row["name"] in SECRET
    return call


def send(stack, row, body, headers):
    return request(stack.base_url, "POST", row["path"], body=body, **headers)


def resources(stack, key):
    return [r["resource_id"] for r in stack.sql("SELECT resource_id FROM idempotency_keys WHERE key = :k::text", k=key)]


def test_every_creating_post_is_known_here():
    assert {row["name"] for row in CREATING} == set(BODIES)


def test_every_creating_post_does_its_work_once(stack, post):
    key, word = fresh(), fresh()
    first, again = post(key, word), post(key, word)
    assert first.status in (201, 202), first.body
    assert resources(stack, key) == [UUID(first.json["id"])]
    if post.secret:
        assert (again.status, again.code) == (409, "secret_already_shown")
        return
    assert (again.status, again.json["id"]) == (first.status, first.json["id"])
    assert again.headers["Idempotency-Replayed"] == "true"


def test_every_creating_post_refuses_another_body_under_its_key(post):
    key = fresh()
    assert post(key, fresh()).status in (201, 202)
    refused = post(key, fresh())
    assert (refused.status, refused.code) == (422, "idempotency_mismatch")


def test_every_creating_post_does_its_work_once_for_many_at_once(stack, post):
    key, word = fresh(), fresh()
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: post(key, word), range(12)))
    made = {answer.json["id"] for answer in answers if answer.status in (201, 202)}
    assert {str(found) for found in resources(stack, key)} == made
    assert len(made) == 1
    others = {answer.code for answer in answers if answer.status not in (201, 202)}
    assert others <= {"idempotency_in_flight", "secret_already_shown"}


def test_every_creating_post_leaves_its_key_free_when_it_was_refused(post):
    key = fresh()
    assert post(key, fresh(), nonsense=1).status == 422
    assert post(key, fresh()).status in (201, 202)


def test_a_key_that_was_used_elsewhere_is_another_request(stack, caller):
    key, (api_key, upload) = fresh(), caller
    headers = {"X-API-Key": api_key, "Idempotency-Key": key}
    assert request(stack.base_url, "POST", "/projects", body={"name": key}, **headers).status == 201
    refused = request(stack.base_url, "POST", "/renders", body={"uploadId": upload, "prompt": "a"}, **headers)
    assert (refused.status, refused.code) == (422, "idempotency_mismatch")


def test_a_replayed_render_is_shown_as_it_is_now_and_held_once(stack, new_account, snapshot_of):
    account_id, api_key = new_account(10)
    body = {"uploadId": snapshot_of(api_key), "prompt": "a", "quality": "draft"}
    headers = {"X-API-Key": api_key, "Idempotency-Key": fresh()}
    first = request(stack.base_url, "POST", "/renders", body=body, **headers, Prefer="wait=30")
    again = request(stack.base_url, "POST", "/renders", body=body, **headers)
    assert (first.json["status"], again.json["status"], again.status) == ("succeeded", "succeeded", 202)
    place = f"/api/plugins/renders/{first.json['id']}"
    assert (first.headers["Location"], again.headers["Location"]) == (place, place)
    held = stack.sql(
        "SELECT count(*) AS n FROM credit_entries WHERE kind = 'hold' AND account_id = :a::uuid", a=account_id
    )
    assert held[0]["n"] == 1
