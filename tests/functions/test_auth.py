"""Sign-in, refresh, sign-out, and keys that end."""

import json
import time
from datetime import datetime

import pytest

from tests.support import Tenant, leaks, request


@pytest.fixture
def session(stack):
    return sign_in(stack)


def sign_in(stack, **more):
    answer = request(
        stack.base_url, "POST", "/auth/signin", body={"email": stack.email, "password": stack.password, **more}
    )
    assert answer.status == 200, answer.body
    return answer


def me(stack, token):
    return request(stack.base_url, "GET", "/auth/me", Authorization=f"Bearer {token}")


def refresh(stack, token):
    return request(stack.base_url, "POST", "/auth/refresh", body={"refreshToken": token})


def test_a_session_knows_its_person_its_device_and_its_credits(stack):
    sign_in(stack, device="Another PC")
    token = sign_in(stack, device="Office PC").json["accessToken"]
    told = me(stack, token).json
    assert told["user"]["email"] == stack.email
    assert told["credential"]["kind"] == "session"
    assert (
        told["credits"]["available"] + told["credits"]["held"] + told["credits"]["spent"] == told["credits"]["granted"]
    )
    assert [s["device"] for s in told["sessions"] if s["current"]] == ["Office PC"]
    assert set(told["credential"]) == {"kind", "scopes"}


def test_a_key_is_told_which_it_is_and_nothing_of_the_sessions(stack):
    made = key(stack, name="an office").json
    told = request(stack.base_url, "GET", "/auth/me", X_API_Key=made["key"]).json
    assert "sessions" not in told
    assert (told["credential"]["keyId"], told["credential"]["name"]) == (made["id"], "an office")


@pytest.mark.parametrize(
    "over", ["last_used_at = now() - interval '31 days'", "expires_at = now()", "ended_at = now()"]
)
def test_a_session_that_nobody_can_use_any_more_is_not_listed(stack, over):
    tenant = Tenant(stack)
    tenant.sign_in(device="forgotten")
    stack.sql(f"UPDATE sessions SET {over} WHERE account_id = :id::uuid RETURNING 1", id=tenant.id)
    assert [session["device"] for session in sessions_of(tenant)] == ["used"]


def sessions_of(tenant):
    """What a new session, with the device `used`, is told of the account's sessions."""
    return me(tenant.stack, tenant.sign_in(device="used").json["accessToken"]).json["sessions"]


def test_the_newest_hundred_sessions_are_listed_newest_first(stack):
    tenant = Tenant(stack)
    stack.sql(
        """
        INSERT INTO sessions (account_id, device, expires_at)
        SELECT :id::uuid, n::text, now() + interval '1 day' FROM generate_series(1, 105) n RETURNING 1
        """,
        id=tenant.id,
    )
    assert [session["device"] for session in sessions_of(tenant)] == ["used", *(str(n) for n in range(105, 6, -1))]


def test_the_last_use_of_a_session_is_at_most_a_minute_old(stack):
    tenant = Tenant(stack)
    token = tenant.token()
    aged = stack.sql(
        """
        UPDATE sessions SET last_used_at = last_used_at - interval '61 seconds' WHERE account_id = :id::uuid
        RETURNING last_used_at
        """,
        id=tenant.id,
    )
    (session,) = me(stack, token).json["sessions"]
    assert datetime.fromisoformat(session["lastUsedAt"]) > aged[0]["last_used_at"]


def test_a_session_is_named_by_its_platform_when_its_device_is_not_told(stack):
    body = {"email": stack.email, "password": stack.password}
    answer = request(stack.base_url, "POST", "/auth/signin", body=body, X_Renderiq_Platform="Rhino 8")
    told = me(stack, answer.json["accessToken"]).json["sessions"]
    assert [session["device"] for session in told if session["current"]] == ["rhino"]


def test_a_token_answer_is_never_stored(session):
    assert session.headers["Cache-Control"] == "no-store"
    assert session.json["tokenType"] == "Bearer"
    assert session.json["expiresIn"] == 3600


def test_whatever_is_wrong_with_a_sign_in_the_answer_is_the_same(stack):
    wrong = [
        {"email": "nobody@example.com", "password": stack.password},
        {"email": stack.email, "password": "wrong password"},
        {"email": stack.email.upper() + "x", "password": stack.password},
    ]
    answers = [request(stack.base_url, "POST", "/auth/signin", body=body) for body in wrong]
    told = [json.dumps({**a.json, "requestId": ""}) for a in answers]
    assert {a.status for a in answers} == {401}
    assert len(set(told)) == 1
    assert answers[0].code == "invalid_credentials"


def test_an_email_address_is_known_in_any_case(stack):
    body = {"email": stack.email.upper(), "password": stack.password}
    assert request(stack.base_url, "POST", "/auth/signin", body=body).status == 200


def test_a_refresh_token_is_exchanged_and_a_lost_answer_may_be_asked_for_again(stack, session):
    first = session.json["refreshToken"]
    lost, again = refresh(stack, first), refresh(stack, first)
    assert (lost.status, again.status) == (200, 200)
    assert me(stack, again.json["accessToken"]).status == 200
    assert refresh(stack, again.json["refreshToken"]).status == 200


def test_a_refresh_token_whose_successor_was_used_ends_the_session(stack, session):
    first = session.json["refreshToken"]
    second = refresh(stack, first).json["refreshToken"]
    third = refresh(stack, second).json
    stolen = refresh(stack, first)
    assert (stolen.status, stolen.code) == (401, "invalid_refresh_token")
    assert me(stack, third["accessToken"]).code == "invalid_token"
    assert refresh(stack, third["refreshToken"]).code == "invalid_refresh_token"


def test_a_successor_that_was_replaced_is_not_good_any_more(stack, session):
    first = session.json["refreshToken"]
    replaced = refresh(stack, first).json["refreshToken"]
    refresh(stack, first)
    assert refresh(stack, replaced).code == "invalid_refresh_token"


def test_a_signed_out_session_is_refused_on_the_next_request(stack, session):
    token = session.json["accessToken"]
    assert request(stack.base_url, "POST", "/auth/signout", Authorization=f"Bearer {token}").status == 204
    assert me(stack, token).code == "invalid_token"
    assert refresh(stack, session.json["refreshToken"]).code == "invalid_refresh_token"


def test_signing_out_everywhere_ends_every_session(stack):
    tokens = [sign_in(stack).json["accessToken"] for _ in range(2)]
    body = {"everywhere": True}
    assert (
        request(stack.base_url, "POST", "/auth/signout", body=body, Authorization=f"Bearer {tokens[0]}").status == 204
    )
    assert [me(stack, token).status for token in tokens] == [401, 401]


def test_an_api_key_signs_nobody_out(stack):
    answer = request(stack.base_url, "POST", "/auth/signout", X_API_Key=stack.api_key)
    assert (answer.status, answer.code) == (403, "session_required")


def test_a_cookie_session_has_no_token_in_its_body_and_needs_a_header_to_write(stack):
    answer = sign_in(stack, cookie=True)
    assert set(answer.json) == {"user"}
    cookie = answer.headers["Set-Cookie"]
    assert {part.strip() for part in cookie.split(";")[1:]} == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    sent = {"Cookie": cookie.split(";")[0]}
    assert request(stack.base_url, "GET", "/auth/me", **sent).json["credential"]["kind"] == "session"
    two = request(stack.base_url, "GET", "/auth/me", X_API_Key=stack.api_key, **sent)
    assert (two.status, two.code) == (400, "multiple_credentials")
    refused = request(stack.base_url, "POST", "/auth/signout", **sent)
    assert (refused.status, refused.code) == (403, "csrf_header_required")
    assert request(stack.base_url, "POST", "/auth/signout", X_Requested_With="dashboard", **sent).status == 204
    assert request(stack.base_url, "GET", "/auth/me", **sent).code == "invalid_token"


def key(stack, **fields):
    body = {"name": "a key", "scopes": ["keys:read", "keys:write"], **fields}
    return request(stack.base_url, "POST", "/keys", body=body, X_API_Key=stack.api_key)


def test_a_revoked_key_stops_working_at_once(stack):
    made = key(stack).json
    assert request(stack.base_url, "GET", "/keys", X_API_Key=made["key"]).status == 200
    assert request(stack.base_url, "DELETE", f"/keys/{made['id']}", X_API_Key=stack.api_key).status == 204
    assert request(stack.base_url, "GET", "/keys", X_API_Key=made["key"]).code == "key_revoked"
    revoked_at = listed(stack, made["id"])["revokedAt"]
    assert request(stack.base_url, "DELETE", f"/keys/{made['id']}", X_API_Key=stack.api_key).status == 204
    assert listed(stack, made["id"])["revokedAt"] == revoked_at, "again is the same"


def listed(stack, key_id):
    items = request(stack.base_url, "GET", "/keys?limit=100", X_API_Key=stack.api_key).json["items"]
    return next(item for item in items if item["id"] == key_id)


def test_what_is_said_twice_of_a_key_is_kept_once(stack):
    made = key(stack, scopes=["keys:write", "keys:read", "keys:write"], platforms=["revit", "rhino", "revit"]).json
    assert (made["scopes"], made["platforms"]) == (["keys:read", "keys:write"], ["revit", "rhino"])


def test_a_key_is_shown_as_a_bearers_and_in_no_other_scheme(stack):
    refused = request(stack.base_url, "GET", "/keys", Authorization=f"Basic {stack.api_key}")
    assert (refused.status, refused.code) == (401, "invalid_token")
    assert request(stack.base_url, "GET", "/keys", Authorization=f"bearer {stack.api_key}").status == 200


def test_a_key_ends_when_it_was_said_to(stack):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    made = key(stack, expiresAt=soon)
    assert made.status == 201, made.body
    time.sleep(2.2)
    assert request(stack.base_url, "GET", "/keys", X_API_Key=made.json["key"]).code == "key_expired"


def test_a_key_that_ends_in_the_past_is_not_made(stack):
    refused = key(stack, expiresAt="2020-01-01T00:00:00Z")
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert refused.json["errors"][0]["field"] == "expiresAt"


def test_a_key_without_the_scope_is_told_which_it_lacks(stack):
    made = key(stack, scopes=["keys:read"]).json["key"]
    refused = request(stack.base_url, "GET", "/credits", X_API_Key=made)
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert (
        refused.headers["WWW-Authenticate"]
        == 'Bearer realm="renderiq", error="insufficient_scope", scope="credits:read"'
    )


@pytest.mark.parametrize(
    ("platforms", "sent", "status"),
    [
        (["sketchup"], {"X-Renderiq-Platform": "SketchUp/1.2.0"}, 200),
        (["sketchup"], {}, 200),
        (["sketchup"], {"User-Agent": "Renderiq-Plugin/Revit/2.0"}, 403),
        (["sketchup", "revit"], {}, 403),
        (["sketchup", "revit"], {"User-Agent": "Renderiq-Plugin/Revit/2.0"}, 200),
    ],
)
def test_a_key_bound_to_platforms_refuses_others(stack, platforms, sent, status):
    made = key(stack, platforms=platforms).json["key"]
    answer = request(stack.base_url, "GET", "/keys", X_API_Key=made, **sent)
    assert answer.status == status
    assert answer.code == (None if status == 200 else "platform_not_allowed")


@pytest.mark.parametrize(("platforms", "counts_as"), [(["rhino"], "rhino"), ([], "unknown")])
def test_a_plugin_that_does_not_say_what_it_is_counts_as_the_only_one_of_its_key(stack, platforms, counts_as):
    made = key(stack, platforms=platforms).json
    assert request(stack.base_url, "GET", "/auth/me", X_API_Key=made["key"]).json["platform"] == counts_as
    listed = request(stack.base_url, "GET", "/keys?limit=100", X_API_Key=stack.api_key).json["items"]
    assert next(item for item in listed if item["id"] == made["id"])["lastUsedPlatform"] == counts_as


def test_a_list_of_keys_tells_the_last_use_and_no_secret(stack):
    made = key(stack).json
    request(stack.base_url, "GET", "/keys", X_API_Key=made["key"], X_Renderiq_Platform="rhino")
    answer = request(stack.base_url, "GET", "/keys?limit=100", X_API_Key=stack.api_key)
    found = next(item for item in answer.json["items"] if item["id"] == made["id"])
    assert (found["lastUsedPlatform"], found["hint"]) == ("rhino", made["hint"])
    assert found["lastUsedAt"]
    assert made["key"].encode() not in answer.body


def test_pages_neither_repeat_nor_miss_a_key(stack):
    made = {key(stack, name=f"page {n}").json["id"] for n in range(5)}
    seen, cursor = [], ""
    while cursor is not None:
        query = f"?limit=2&cursor={cursor}" if cursor else "?limit=2"
        page = request(stack.base_url, "GET", f"/keys{query}", X_API_Key=stack.api_key).json
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert made <= set(seen)
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, reverse=True)


def test_what_would_be_a_leak_is_found(stack):
    """The check that ends every stack's tests (`stop_stack`) does not pass by finding nothing at all."""
    made = key(stack).json
    assert leaks(stack) == []
    log = stack.data / "logs" / "planted.log"
    for secret in (
        made["key"],
        sign_in(stack).json["accessToken"],
        sign_in(stack).json["refreshToken"],
        stack.password,
    ):
        log.write_text(f"a line with {secret} in it")
        assert leaks(stack) == [f"{log}: {secret[:14]}…"]
    log.unlink()
