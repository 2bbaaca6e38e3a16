"""Who may call what: every endpoint times every kind of credential, each with the answer that it must get.

An endpoint without a row here fails. A row is the status that a good credential gets, with an empty body and, where
the path has an id, one that nobody has.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from common.auth import api_keys, tokens
from tests.support import Tenant, bearer, request

ROOT = Path(__file__).parents[2]
TABLE = json.loads((ROOT / "terraform" / "functions.json").read_text())["functions"]
GOOD = {
    "auth_me": 200,
    "auth_refresh": 422,
    "auth_signin": 422,
    "auth_signout": 204,
    "credits_get": 200,
    "credits_list_entries": 200,
    "deliveries_get": 404,
    "deliveries_list": 200,
    "deliveries_retry": 404,
    "fallback": 404,
    "health": 200,
    "jwks": 200,
    "keys_create": 422,
    "keys_list": 200,
    "keys_revoke": 404,
    "keys_rotate": 404,
    "projects_create": 422,
    "projects_list": 200,
    "renders_cancel": 404,
    "renders_create": 422,
    "renders_get": 404,
    "renders_list": 200,
    "tasks_deliver_webhook": 403,
    "tasks_run_render": 403,
    "tasks_sweep": 403,
    "uploads_cancel": 404,
    "uploads_complete": 404,
    "uploads_create": 422,
    "uploads_get": 404,
    "webhooks_delete": 404,
    "webhooks_get": 404,
    "webhooks_list": 200,
    "webhooks_recover": 422,
    "webhooks_register": 422,
    "webhooks_rotate_secret": 404,
    "webhooks_stats": 404,
    "webhooks_test": 404,
    "webhooks_update": 404,
}
#: What each credential gets from an endpoint that asks for one, as status and code; None: the endpoint's own answer.
REFUSALS = {
    "nothing": (401, "unauthenticated"),
    "malformed": (401, "invalid_token"),
    "a bad checksum": (401, "invalid_key"),
    "an unknown key": (401, "invalid_key"),
    "an expired key": (401, "key_expired"),
    "a revoked key": (401, "key_revoked"),
    "an old secret in its grace": None,
    "an old secret after its grace": (401, "key_expired"),
    "an expired token": (401, "invalid_token"),
    "a token of an ended session": (401, "invalid_token"),
    "a token of a session that never was": (401, "invalid_token"),
    "a disabled account's key": (401, "invalid_key"),
    "a disabled account's token": (401, "invalid_token"),
    "a key that lacks the scope": (403, "insufficient_scope"),
    "a key bound to another platform": (403, "platform_not_allowed"),
    "two credentials": (400, "multiple_credentials"),
    "a cookie": None,
    "a cookie without the header": (403, "csrf_header_required"),
    "a good key": None,
    "a good token": None,
}
OF_KEYS = ("an old secret in its grace", "a key that lacks the scope", "a key bound to another platform", "a good key")


def expected(row, credential):
    """The status and, of a problem, the code."""
    good = (GOOD[row["name"]], None)
    if row["public"] or row["internal"]:
        return good
    if row["scope"] == "session" and credential in OF_KEYS:
        return 403, "session_required"
    if row["scope"] == "any" and credential == "a key that lacks the scope":
        return good
    if row["method"] == "GET" and credential == "a cookie without the header":
        return good
    return REFUSALS[credential] or good


@pytest.fixture(scope="module")
def tenant(stack):
    return Tenant(stack)


@pytest.fixture(scope="module")
def disabled(stack):
    """An account whose key and token were made before it was disabled."""
    account = Tenant(stack)
    key, token = account.key(["keys:read"])["key"], account.token()
    stack.sql("UPDATE accounts SET disabled_at = now() WHERE id = :id::uuid RETURNING 1", id=account.id)
    return key, token


def forged(stack, tenant, session_id, issued):
    """A token that our own key signed."""
    config = json.loads((stack.data / "config.json").read_text())
    return tokens.issue(
        private_key_pem=config["token_key"],
        kid=config["jwks"]["keys"][0]["kid"],
        issuer="renderiq",
        audience="renderiq-plugins",
        account_id=tenant.id,
        session_id=session_id,
        now=issued,
    )


def rotated(stack, tenant, scope):
    """A key's old secret, in its grace, and the key's id."""
    key = tenant.key([scope])
    request(stack.base_url, "POST", f"/keys/{key['id']}/rotate", body={}, **bearer(tenant.token()))
    return key


def ended(stack, tenant):
    found = tenant.token()
    request(stack.base_url, "POST", "/auth/signout", **bearer(found))
    return found


def update_key(stack, key, what):
    stack.sql(f"UPDATE plugin_api_keys SET {what} WHERE id = :id::uuid RETURNING 1", id=key["id"])
    return key["key"]


def headers(stack, tenant, disabled, row, credential):
    """The headers that show `credential` to the endpoint of `row`."""
    scope = row["scope"] if ":" in row["scope"] else "keys:read"
    other = "credits:read" if scope != "credits:read" else "keys:read"
    match credential:
        case "nothing":
            return {}
        case "malformed":
            return {"Authorization": "Bearer nonsense"}
        case "a bad checksum":
            good = api_keys.generate("rq_sk_test_")
            return bearer(good[:-1] + ("A" if good[-1] != "A" else "B"))
        case "an unknown key":
            return bearer(api_keys.generate("rq_sk_test_"))
        case "an expired key":
            return bearer(update_key(stack, tenant.key([scope]), "expires_at = now()"))
        case "a revoked key":
            return bearer(update_key(stack, tenant.key([scope]), "revoked_at = now()"))
        case "an old secret in its grace":
            return bearer(rotated(stack, tenant, scope)["key"])
        case "an old secret after its grace":
            key = rotated(stack, tenant, scope)
            over = (
                "UPDATE plugin_api_key_secrets SET valid_until = now() WHERE key_id = :id::uuid AND hint = :hint::text"
            )
            stack.sql(over + " RETURNING 1", id=key["id"], hint=key["hint"])
            return bearer(key["key"])
        case "an expired token":
            return bearer(forged(stack, tenant, session_of(tenant.token()), datetime.now(UTC) - timedelta(hours=2)))
        case "a token of an ended session":
            return bearer(ended(stack, tenant))
        case "a token of a session that never was":
            return bearer(forged(stack, tenant, uuid4(), datetime.now(UTC)))
        case "a disabled account's key":
            return bearer(disabled[0])
        case "a disabled account's token":
            return bearer(disabled[1])
        case "a key that lacks the scope":
            return bearer(tenant.key([other])["key"])
        case "a key bound to another platform":
            key = tenant.key([scope], platforms=["rhino"])["key"]
            return bearer(key) | {"X-Renderiq-Platform": "revit"}
        case "two credentials":
            return bearer(stack.api_key) | {"X-API-Key": stack.api_key}
        case "a cookie":
            return cookie(tenant) | {"X-Requested-With": "dashboard"}
        case "a cookie without the header":
            return cookie(tenant)
        case "a good key":
            return {"X-API-Key": tenant.key([scope])["key"]}
        case "a good token":
            return bearer(tenant.token())
        case _:
            pytest.fail(f"nobody knows how to show {credential}")


def cookie(tenant):
    return {"Cookie": tenant.sign_in(cookie=True).headers["Set-Cookie"].partition(";")[0]}


def session_of(access_token):
    return UUID(tokens.decode_object(access_token.split(".")[1])["sid"])


def send(stack, row, sent, found_id=None):
    path = "/".join(str(found_id or uuid4()) if part.startswith("{") else part for part in row["path"].split("/"))
    method = "GET" if row["method"] == "*" else row["method"]
    path = "/api/plugins/nowhere" if row["method"] == "*" else path
    body = None if method == "GET" else {}
    return request(stack.base_url, method, path, body=body, **sent)


def test_every_endpoint_has_its_row():
    assert set(GOOD) == {row["name"] for row in TABLE}


@pytest.mark.parametrize("credential", REFUSALS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])
def test_a_credential_gets_what_it_may(stack, tenant, disabled, row, credential):
    answer = send(stack, row, headers(stack, tenant, disabled, row, credential))
    status, code = expected(row, credential)
    assert answer.status == status, answer.body
    if code:
        assert answer.code == code
        assert answer.json["requestId"] == answer.headers["X-Request-Id"]
    if status in (401, 403) and not row["internal"]:
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="renderiq"')
        assert ('error="invalid_token"' in answer.headers["WWW-Authenticate"]) == (
            status == 401 and credential != "nothing"
        )
    if credential == "an old secret in its grace" and not (row["public"] or row["internal"]):
        assert answer.headers["X-Renderiq-Key-Rotated"].startswith("grace-ends=")


@pytest.fixture(scope="module")
def foreign(stack):
    """Another tenant's things, by the name that their id has in a path."""
    other = Tenant(stack)
    auth = bearer(other.token())
    upload = {"fileName": "a.png", "contentType": "image/png", "sizeBytes": 10, "purpose": "snapshot"}
    hook = {"url": "http://127.0.0.1:9/hook", "events": ["render.completed"]}
    upload_id = request(stack.base_url, "POST", "/uploads", body=upload, **auth).json["id"]
    webhook_id = request(stack.base_url, "POST", "/webhooks/register", body=hook, **auth).json["id"]
    render_id = stack.sql(
        """
        INSERT INTO renders (account_id, upload_id, prompt, quality, seed, engine, quoted, metadata, status, hold,
                             charged)
        VALUES (:account::uuid, :upload::uuid, 'a room', 'draft', 1, '{}', 1, '{}', 'failed', 'released', 0)
        RETURNING id
        """,
        account=other.id,
        upload=upload_id,
    )[0]["id"]
    delivery_id = stack.sql(
        """
        INSERT INTO webhook_deliveries (account_id, webhook_id, event_id, event_type, payload, status)
        VALUES (:account::uuid, :webhook::uuid, uuidv7(), 'webhook.test', '{}', 'dead') RETURNING id
        """,
        account=other.id,
        webhook=webhook_id,
    )[0]["id"]
    request(stack.base_url, "POST", "/projects", body={"name": "theirs"}, **auth)
    return {
        "{keyId}": other.key(["keys:read"])["id"],
        "{webhookId}": webhook_id,
        "{uploadId}": upload_id,
        "{renderId}": render_id,
        "{deliveryId}": delivery_id,
    }


@pytest.mark.parametrize("row", [row for row in TABLE if "{" in row["path"]], ids=lambda row: row["name"])
def test_another_tenants_thing_and_none_at_all_answer_the_same_bytes(stack, tenant, foreign, row):
    sent = bearer(tenant.token()) | {"X-Request-Id": "the-same-request"}
    theirs = next(foreign[part] for part in row["path"].split("/") if part.startswith("{"))
    answers = [send(stack, row, sent, found) for found in (theirs, uuid4())]
    assert [answer.status for answer in answers] == [GOOD[row["name"]]] * 2
    assert answers[0].body == answers[1].body


@pytest.mark.parametrize("row", [row for row in TABLE if "_list" in row["name"]], ids=lambda row: row["name"])
def test_a_list_holds_nothing_of_another_tenant(stack, foreign, row):
    new = Tenant(stack, credits=0)
    assert foreign
    answer = request(stack.base_url, "GET", f"{row['path']}?limit=100", **bearer(new.token()))
    assert (answer.status, answer.json) == (200, {"items": [], "nextCursor": None})
