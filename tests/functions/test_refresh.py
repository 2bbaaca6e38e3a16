"""Refresh tokens under races: whatever comes together, a session has one line of tokens, or has ended."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.support import Tenant, bearer, request


@pytest.fixture(scope="module")
def tenant(stack):
    return Tenant(stack)


def refresh(stack, token):
    return request(stack.base_url, "POST", "/auth/refresh", body={"refreshToken": token})


def me(stack, token):
    return request(stack.base_url, "GET", "/auth/me", **bearer(token))


def later(tenant, column, **by):
    """As if the tenant's tokens had that time behind them."""
    tenant.stack.sql(
        f"UPDATE refresh_tokens SET {column} = {column} - :by::interval"
        " WHERE session_id IN (SELECT id FROM sessions WHERE account_id = :id::uuid) RETURNING 1",
        by=timedelta(**by),
        id=tenant.id,
    )


def test_an_answer_lost_for_more_than_a_minute_ends_the_session(stack, tenant):
    first = tenant.sign_in().json
    refresh(stack, first["refreshToken"])
    later(tenant, "used_at", seconds=61)
    assert refresh(stack, first["refreshToken"]).code == "invalid_refresh_token"
    assert me(stack, first["accessToken"]).code == "invalid_token"


def test_a_lost_answer_is_repeated_once(stack, tenant):
    first = tenant.sign_in().json
    assert [refresh(stack, first["refreshToken"]).status for _ in range(3)] == [200, 200, 401]
    assert me(stack, first["accessToken"]).code == "invalid_token"


def test_a_refresh_token_is_good_for_thirty_idle_days_and_the_session_for_ninety(stack, tenant):
    idle = tenant.sign_in().json["refreshToken"]
    later(tenant, "created_at", days=29)
    kept = refresh(stack, idle).json["refreshToken"]
    later(tenant, "created_at", days=31)
    assert refresh(stack, kept).code == "invalid_refresh_token"

    old = tenant.sign_in().json
    stack.sql("UPDATE sessions SET expires_at = now() WHERE account_id = :id::uuid RETURNING 1", id=tenant.id)
    assert refresh(stack, old["refreshToken"]).code == "invalid_refresh_token"
    assert me(stack, old["accessToken"]).code == "invalid_token"


@pytest.mark.parametrize("cookie", [False, True])
def test_a_session_lives_for_ninety_days(stack, cookie):
    tenant = Tenant(stack)
    signed_in = tenant.sign_in(cookie=cookie)
    sent = {"Cookie": signed_in.headers["Set-Cookie"].partition(";")[0]} if cookie else None

    def status_after(days):
        stack.sql(
            "UPDATE sessions SET expires_at = expires_at - :by::interval WHERE account_id = :id::uuid RETURNING 1",
            by=timedelta(days=days),
            id=tenant.id,
        )
        return request(stack.base_url, "GET", "/auth/me", **(sent or bearer(signed_in.json["accessToken"]))).status

    assert [status_after(89), status_after(1)] == [200, 401]


def test_a_disabled_accounts_refresh_token_is_refused(stack):
    tenant = Tenant(stack)
    token = tenant.sign_in().json["refreshToken"]
    stack.sql("UPDATE accounts SET disabled_at = now() WHERE id = :id::uuid RETURNING 1", id=tenant.id)
    assert refresh(stack, token).code == "invalid_refresh_token"


def test_a_session_that_is_refreshed_is_in_use(stack):
    tenant = Tenant(stack)
    token = tenant.sign_in(device="an office").json["refreshToken"]
    stack.sql(
        "UPDATE sessions SET last_used_at = now() - interval '31 days' WHERE account_id = :id::uuid RETURNING 1",
        id=tenant.id,
    )
    refresh(stack, token)
    assert "an office" in [session["device"] for session in me(stack, tenant.token()).json["sessions"]]


def test_a_cookie_session_ends_after_thirty_idle_days(stack, tenant):
    cookie = {"Cookie": tenant.sign_in(cookie=True).headers["Set-Cookie"].partition(";")[0]}
    assert request(stack.base_url, "GET", "/auth/me", **cookie).status == 200
    stack.sql(
        "UPDATE sessions SET last_used_at = now() - interval '31 days'"
        " WHERE account_id = :id::uuid AND cookie_sha256 IS NOT NULL RETURNING 1",
        id=tenant.id,
    )
    assert request(stack.base_url, "GET", "/auth/me", **cookie).code == "invalid_token"


def test_signing_out_makes_the_browser_forget_its_cookie(stack, tenant):
    cookie = {"Cookie": tenant.sign_in(cookie=True).headers["Set-Cookie"].partition(";")[0]}
    answer = request(stack.base_url, "POST", "/auth/signout", X_Requested_With="dashboard", **cookie)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Set-Cookie"].startswith("__Host-session=; Max-Age=0; Path=/; Secure;")
    assert "Set-Cookie" not in request(stack.base_url, "POST", "/auth/signout", **bearer(tenant.token())).headers


def test_a_cookie_is_no_refresh_token_and_a_refresh_token_no_cookie(stack, tenant):
    cookie = tenant.sign_in(cookie=True).headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    assert refresh(stack, cookie).code == "invalid_refresh_token"
    token = tenant.sign_in().json["refreshToken"]
    refused = request(stack.base_url, "GET", "/auth/me", Cookie=f"__Host-session={token}")
    assert refused.code == "invalid_token"


def test_of_many_exchanges_at_once_two_are_answered_and_then_the_session_ends(stack):
    tenant = Tenant(stack)
    for _ in range(5):
        first = tenant.sign_in().json["refreshToken"]
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda token: refresh(stack, token), [first] * 8))
        assert sorted(answer.status for answer in answers)[:2] == [200, 200]
        assert [answer.status for answer in answers].count(401) == 6
        rows = stack.sql(
            """
            SELECT count(*) AS good FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
            WHERE s.account_id = :id::uuid AND s.ended_at IS NULL AND t.used_at IS NULL AND t.replaced_at IS NULL
            """,
            id=tenant.id,
        )
        assert rows[0]["good"] == 0, "a token that was used a third time has ended its session"


def test_a_chain_exchanged_while_its_first_token_is_repeated_never_leaves_two_good_tokens(stack):
    tenant = Tenant(stack)
    for _ in range(10):
        first = tenant.sign_in().json["refreshToken"]
        second = refresh(stack, first).json["refreshToken"]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda token: refresh(stack, token), [first, second]))
        rows = stack.sql(
            """
            SELECT t.session_id FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
            WHERE s.account_id = :id::uuid AND s.ended_at IS NULL AND t.used_at IS NULL AND t.replaced_at IS NULL
            GROUP BY 1 HAVING count(*) > 1
            """,
            id=tenant.id,
        )
        assert rows == []


@pytest.mark.parametrize("token", ["", "x" * 201, "rq_rt_\x00"])
def test_what_cannot_be_a_refresh_token_is_told_so(stack, token):
    assert refresh(stack, token).code == "invalid_request"


def test_an_unknown_refresh_token_is_refused(stack):
    refused = refresh(stack, "rq_rt_" + "0" * 43)
    assert (refused.status, refused.code) == (401, "invalid_refresh_token")
