"""Who changed what, from where and when, is kept; nobody among the functions can change it."""

import json

import pytest

from common.db import Connection, connect_url
from tests.support import Tenant, accounts, bearer, request


def events(stack, tenant):
    return stack.sql("SELECT * FROM audit_events WHERE account_id = :id::uuid ORDER BY id", id=tenant.id)


def actions(stack, tenant):
    return [event["action"] for event in events(stack, tenant)]


@pytest.fixture
def tenant(stack):
    return Tenant(stack)


def test_an_operators_commands_are_kept_with_who_and_where(stack, tenant):
    accounts(stack, "grant", tenant.email, "7", "--reason", "an apology")
    accounts(stack, "disable", tenant.email)
    accounts(stack, "enable", tenant.email)
    told = events(stack, tenant)
    assert [event["action"] for event in told] == [
        "account.created",
        "credits.granted",
        "credits.granted",
        "account.disabled",
        "account.enabled",
    ]
    assert {event["actor"] for event in told} == {"operator"}
    assert all(event["address"] and event["details"]["operator"] for event in told)
    assert told[2]["details"] | {"operator": ""} == {"amount": 7, "reason": "an apology", "operator": ""}


def test_a_session_is_kept_from_its_start_to_its_end(stack, tenant):
    token = tenant.sign_in(device="Office PC").json["accessToken"]
    request(stack.base_url, "POST", "/auth/signout", X_Request_Id="sign-out-0001", **bearer(token))
    started, ended = events(stack, tenant)[-2:]
    assert (started["action"], started["actor"], started["details"]["device"]) == (
        "session.started",
        "session",
        "Office PC",
    )
    assert (ended["action"], ended["target_id"], ended["actor_id"]) == (
        "session.ended",
        started["target_id"],
        started["target_id"],
    )
    assert (ended["request_id"], ended["address"], ended["platform"]) == ("sign-out-0001", "127.0.0.1", "unknown")


def test_a_refresh_token_that_was_used_twice_is_kept(stack, tenant):
    first = tenant.sign_in().json["refreshToken"]

    def refresh(token):
        return request(stack.base_url, "POST", "/auth/refresh", body={"refreshToken": token})

    second = refresh(first).json["refreshToken"]
    refresh(second)
    assert refresh(first).status == 401
    assert events(stack, tenant)[-1]["details"]["reason"] == "refresh token reused"


def test_a_keys_life_is_kept_with_its_hints_and_its_platform(stack, tenant):
    token = bearer(tenant.token()) | {"User-Agent": "Renderiq-Plugin/Revit/2.1.0"}
    made = request(stack.base_url, "POST", "/keys", body={"name": "k", "scopes": ["keys:write"]}, **token).json
    rotated = request(stack.base_url, "POST", f"/keys/{made['id']}/rotate", **bearer(made["key"])).json
    for _ in range(2):
        request(stack.base_url, "DELETE", f"/keys/{made['id']}", **token)
    told = events(stack, tenant)[-3:]
    assert [event["action"] for event in told] == ["key.created", "key.rotated", "key.revoked"]
    assert {str(event["target_id"]) for event in told} == {made["id"]}
    assert (told[0]["platform"], told[0]["details"]["hint"]) == ("revit", made["hint"])
    assert (told[1]["actor"], str(told[1]["actor_id"])) == ("api_key", made["id"])
    assert told[1]["details"] == {"hint": rotated["hint"], "previous": made["hint"]}


def test_what_was_refused_is_not_kept(stack, tenant):
    before = actions(stack, tenant)
    token = bearer(tenant.token())
    request(stack.base_url, "POST", "/keys", body={"name": "k", "scopes": []}, **token)
    request(stack.base_url, "POST", "/auth/signin", body={"email": tenant.email, "password": "wrong"})
    assert actions(stack, tenant) == [*before, "session.started"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET action = 'nothing' RETURNING 1",
        "DELETE FROM audit_events RETURNING 1",
        "TRUNCATE audit_events",
        "UPDATE credit_entries SET amount = 1 RETURNING 1",
        "DELETE FROM credit_entries RETURNING 1",
    ],
)
def test_the_functions_role_can_only_append(stack, statement):
    from pg8000.exceptions import DatabaseError

    environment = json.loads((stack.data / "environment.json").read_text())
    conn = Connection(connect_url(environment["DATABASE_URL"]))
    try:
        with pytest.raises(DatabaseError, match="42501"):
            conn.rows(statement)
    finally:
        conn.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/keys", {"name": "k", "scopes": ["keys:read"]}),
        ("/webhooks/register", {"url": "https://example.com/hook", "events": ["render.completed"]}),
    ],
)
def test_a_repeated_request_is_kept_once(stack, tenant, path, body):
    token = bearer(tenant.token())
    before = actions(stack, tenant)
    answers = [request(stack.base_url, "POST", path, body=body, Idempotency_Key="once", **token) for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 409, 409], answers[0].body
    assert len(actions(stack, tenant)) == len(before) + 1


def test_a_webhooks_change_that_changes_nothing_is_not_kept(stack, tenant):
    token = bearer(tenant.token())
    body = {"url": "https://example.com/hook", "events": ["render.completed"]}
    hook = request(stack.base_url, "POST", "/webhooks/register", body=body, **token).json
    before = actions(stack, tenant)
    assert request(stack.base_url, "PATCH", f"/webhooks/{hook['id']}", body={}, **token).status == 200
    assert actions(stack, tenant) == before


def test_a_webhooks_life_is_kept_without_what_may_be_secret_in_its_url(stack, tenant):
    token = bearer(tenant.token())
    before = len(events(stack, tenant))
    body = {"url": "https://a.example.com/first-path?key=first", "events": ["render.completed"]}
    hook = request(stack.base_url, "POST", "/webhooks/register", body=body, **token).json
    path, change = f"/webhooks/{hook['id']}", {"url": "https://b.example.com/second-path?key=second"}
    request(stack.base_url, "PATCH", path, body=change, **token)
    request(stack.base_url, "POST", f"{path}/rotate-secret", body={}, **token)
    request(stack.base_url, "DELETE", path, **token)
    told = events(stack, tenant)[before:]
    assert [(event["action"], event["details"].get("host"), str(event["target_id"])) for event in told] == [
        ("webhook.registered", "a.example.com", hook["id"]),
        ("webhook.updated", "b.example.com", hook["id"]),
        ("webhook.secret_rotated", None, hook["id"]),
        ("webhook.deleted", None, hook["id"]),
    ]
    assert not any("path" in str(event["details"]) or "key=" in str(event["details"]) for event in told)


def test_the_demo_account_is_kept_like_any_other(stack):
    (row,) = stack.sql("SELECT id FROM accounts WHERE email = :email::text", email=stack.email)
    told = stack.sql("SELECT action FROM audit_events WHERE account_id = :id::uuid ORDER BY id LIMIT 3", id=row["id"])
    assert [event["action"] for event in told] == ["account.created", "credits.granted", "key.created"]
