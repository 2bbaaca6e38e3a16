"""Rate limits: exact, told in headers, and all-or-nothing."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import http_sf
import pytest

from tests.conftest import start_stack, stop_stack
from tests.support import request


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A stack with small limits: 60 a minute for a user, 30 for a platform, 20 failures for an address."""
    small = {"USER_RATE_PER_MINUTE": "60", "PLATFORM_RATE_PER_MINUTE": "30", "FAILURES_PER_MINUTE": "20"}
    running = start_stack(tmp_path_factory.mktemp("limited"), MINIMUM_PLUGIN_VERSIONS="revit=2.0.0", **small)
    yield running
    stop_stack(running)


@pytest.fixture
def full(limited):
    """Buckets that are empty again, all of the limit to be had."""
    limited.sql("WITH gone AS (DELETE FROM rate_limits RETURNING 1) SELECT 1")
    limited.sql("WITH gone AS (DELETE FROM attempt_limits RETURNING 1) SELECT 1")
    return limited


def get(stack, platform="sketchup", path="/projects"):
    return request(stack.base_url, "GET", path, X_API_Key=stack.api_key, X_Renderiq_Platform=platform)


def fields(answer, name):
    """A list field as RFC 9651 has it: its items' parameters by the item."""
    return {item: parameters for item, parameters in http_sf.parse(answer.headers[name].encode(), tltype="list")}


def test_each_answer_tells_both_limits(full):
    answer = get(full)
    assert fields(answer, "RateLimit-Policy") == {"user": {"q": 60, "w": 60}, "platform": {"q": 30, "w": 60}}
    assert fields(answer, "RateLimit") == {"user": {"r": 59, "t": 1}, "platform": {"r": 29, "t": 2}}
    tightest = [answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")]
    assert tightest == ["30", "29", "2"]


def test_an_idle_hour_saves_nothing_up(full):
    get(full)
    full.sql("UPDATE rate_limits SET arrivals = ARRAY(SELECT unnest(arrivals) - interval '1 hour') RETURNING 1")
    assert fields(get(full), "RateLimit") == {"user": {"r": 59, "t": 1}, "platform": {"r": 29, "t": 2}}


def test_of_many_at_once_as_many_are_accepted_as_the_limit_says(full):
    started = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: get(full), range(80)))
    took = time.monotonic() - started
    accepted = sum(answer.status == 200 for answer in answers)
    assert 30 <= accepted <= 30 + int(took / 2) + 1
    assert {answer.code for answer in answers if answer.status != 200} == {"rate_limited"}


def test_a_full_platform_takes_nothing_from_the_user(full):
    for _ in range(40):
        get(full, "sketchup")
    left = fields(get(full, "rhino"), "RateLimit")["user"]["r"]
    assert left >= 60 - 31 - 1


def test_a_key_of_one_platform_escapes_its_limit_by_no_silence(full):
    body = {"name": "bound", "scopes": ["projects:read"], "platforms": ["rhino"]}
    sent = {"X-API-Key": request(full.base_url, "POST", "/keys", body=body, X_API_Key=full.api_key).json["key"]}
    spoken = {"X-Renderiq-Platform": "rhino"}
    left = [
        fields(request(full.base_url, "GET", "/projects", **sent, **more), "RateLimit")["platform"]["r"]
        for more in (spoken, {}, spoken, {})
    ]
    assert left[0] == 29
    assert max(left[1:]) < 29


def order(stack):
    """An order that is refused only once it is paid for: nobody has the upload."""
    body = {"uploadId": str(uuid4()), "prompt": "a room"}
    sent = {"X-API-Key": stack.api_key, "X-Renderiq-Platform": "sketchup", "Idempotency-Key": str(uuid4())}
    return request(stack.base_url, "POST", "/renders", body=body, **sent)


def test_an_order_takes_ten_times_what_a_look_takes_or_nothing(full):
    looks, orders = [get(full) for _ in range(4)], [order(full) for _ in range(3)]
    assert [answer.code for answer in orders] == [*[orders[0].code] * 2, "rate_limited"]
    assert orders[0].code != "rate_limited"
    left = [fields(answer, "RateLimit")["platform"]["r"] for answer in (looks[-1], *orders)]
    assert left[0] - left[1] >= 10 - 2
    assert left[2] <= left[3], "a refused order takes nothing"
    assert get(full).status == 200, "there is room for less"


def test_an_order_takes_ten_from_both_limits(full):
    get(full)
    left = fields(order(full), "RateLimit")
    assert left["user"]["r"] in (49, 50)
    assert left["platform"]["r"] in (19, 20)


def test_an_order_is_told_to_wait_until_there_is_room_for_an_order(full):
    while (refused := order(full)).code != "rate_limited":
        pass
    assert refused.json["violatedPolicies"] == ["platform"]
    assert 2 < refused.json["retryAfter"] <= 20


def without_the_scope(stack):
    body = {"name": "k", "scopes": ["keys:read"]}
    made = request(stack.base_url, "POST", "/keys", body=body, X_API_Key=stack.api_key).json
    return "GET", {"X-API-Key": made["key"]}


def of_a_plugin_that_is_too_old(stack):
    return "GET", {"X-API-Key": stack.api_key, "User-Agent": "Renderiq-Plugin/Revit/1.9.0"}


def by_a_cookie_from_another_site(stack):
    body = {"email": stack.email, "password": stack.password, "cookie": True}
    signed_in = request(stack.base_url, "POST", "/auth/signin", body=body)
    return "POST", {"Cookie": signed_in.headers["Set-Cookie"].partition(";")[0]}


@pytest.mark.parametrize(
    ("made", "status"),
    [(without_the_scope, 403), (of_a_plugin_that_is_too_old, 426), (by_a_cookie_from_another_site, 403)],
)
def test_a_refused_call_takes_nothing(full, made, status):
    method, sent = made(full)
    full.sql("WITH gone AS (DELETE FROM rate_limits RETURNING 1) SELECT 1")
    refused = request(full.base_url, method, "/projects", **sent)
    assert refused.status == status
    assert fields(refused, "RateLimit") == {"user": {"r": 60, "t": 0}, "platform": {"r": 30, "t": 0}}


def test_after_the_wait_that_was_told_the_next_request_passes(full):
    while (refused := get(full)).status == 200:
        pass
    assert refused.json["violatedPolicies"] == ["platform"]
    assert refused.json["retryAfter"] == int(refused.headers["Retry-After"])
    time.sleep(int(refused.headers["Retry-After"]))
    assert get(full).status == 200


def test_an_address_that_fails_too_often_is_refused_but_not_with_a_valid_key(full):
    wrong = {"Authorization": "Bearer e30.e30.e30"}
    answers = [request(full.base_url, "GET", "/projects", **wrong) for _ in range(25)]
    assert [a.status for a in answers].count(429) >= 3
    assert answers[-1].headers["Retry-After"]
    assert get(full).status == 200


def test_what_cannot_be_a_key_is_refused_without_being_counted(full):
    answers = [request(full.base_url, "GET", "/projects", X_API_Key="nonsense") for _ in range(25)]
    assert {answer.code for answer in answers} == {"invalid_key"}
    assert buckets(full) == []


def test_a_time_far_in_the_future_heals(full):
    get(full)
    full.sql(
        "UPDATE rate_limits SET arrivals[1] = now() + interval '1 year', arrivals[3] = now() + interval '1 year' RETURNING 1"
    )
    assert get(full).status == 200
    assert fields(get(full), "RateLimit") == {"user": {"r": 58, "t": 1}, "platform": {"r": 28, "t": 2}}


def test_health_costs_nothing_and_tells_a_plugin_that_is_too_old(full):
    for _ in range(70):
        answer = request(full.base_url, "GET", "/health", User_Agent="Renderiq-Plugin/Revit/1.9.0")
    assert answer.status == 200
    assert answer.json["platform"] == {
        "name": "revit",
        "supported": True,
        "pluginVersion": "1.9.0",
        "minimumVersion": "2.0.0",
        "updateRequired": True,
        "source": "user_agent",
    }


@pytest.mark.parametrize(
    ("agent", "supported"),
    [("Renderiq-Plugin/Revit/2.0.0", True), ("Renderiq-Plugin/Rhino/0.1", True), ("curl/8", False)],
)
def test_health_asks_no_other_plugin_for_an_update(full, agent, supported):
    told = request(full.base_url, "GET", "/health", User_Agent=agent).json["platform"]
    assert (told["supported"], told["updateRequired"]) == (supported, False)


def test_a_revoked_key_is_refused_as_such_whatever_plugin_shows_it(full):
    body = {"name": "k", "scopes": ["projects:read"]}
    made = request(full.base_url, "POST", "/keys", body=body, X_API_Key=full.api_key).json
    request(full.base_url, "DELETE", f"/keys/{made['id']}", X_API_Key=full.api_key)
    sent = {"X-API-Key": made["key"], "User-Agent": "Renderiq-Plugin/Revit/1.9.0"}
    assert request(full.base_url, "GET", "/projects", **sent).code == "key_revoked"


def test_a_plugin_that_is_too_old_is_told_what_to_fetch(full):
    sent = {"X-API-Key": full.api_key, "User-Agent": "Renderiq-Plugin/Revit/1.9.0"}
    refused = request(full.base_url, "GET", "/projects", **sent)
    assert (refused.status, refused.code) == (426, "plugin_update_required")
    assert refused.json["minimumVersion"] == "2.0.0"
    assert refused.json["downloadUrl"].startswith("https://")


@pytest.mark.parametrize(
    ("path", "body"),
    [("/auth/signin", {"email": "a@example.com", "password": "x"}), ("/auth/refresh", {"refreshToken": "x"})],
)
def test_a_plugin_that_is_too_old_is_told_so_before_it_signs_in(full, path, body):
    refused = request(full.base_url, "POST", path, body=body, User_Agent="Renderiq-Plugin/Revit/1.9.0")
    assert (refused.status, refused.code, refused.json["minimumVersion"]) == (426, "plugin_update_required", "2.0.0")


def sign_in(stack, password):
    return request(stack.base_url, "POST", "/auth/signin", body={"email": stack.email, "password": password})


def test_guessing_refresh_tokens_is_a_failure_too(full):
    def refresh(token):
        return request(full.base_url, "POST", "/auth/refresh", body={"refreshToken": token})

    answers = [refresh(f"rq_rt_{n:043}") for n in range(25)]
    assert answers[0].code == "invalid_refresh_token"
    assert [answer.code for answer in answers].count("rate_limited") >= 3
    assert refresh(sign_in(full, full.password).json["refreshToken"]).status == 200


def test_a_refusal_for_the_limit_tells_an_old_secret_of_its_rotation_too(full):
    made = request(full.base_url, "POST", "/keys", body={"name": "k", "scopes": ["keys:read"]}, X_API_Key=full.api_key)
    request(full.base_url, "POST", f"/keys/{made.json['id']}/rotate", X_API_Key=full.api_key)
    old = {"X_API_Key": made.json["key"], "X_Renderiq_Platform": "blender"}
    while (refused := request(full.base_url, "GET", "/keys", **old)).status == 200:
        pass
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert refused.headers["X-Renderiq-Key-Rotated"].startswith("grace-ends=")


def test_the_sweep_forgets_what_has_drained(full):
    full.sql("INSERT INTO attempt_limits SELECT 'old:' || n, now() FROM generate_series(1, 1000) n RETURNING 1")
    full.sql("INSERT INTO attempt_limits VALUES ('full', now() + interval '1 hour') RETURNING 1")
    end = time.monotonic() + 90
    while (left := buckets(full)) != ["full"] and time.monotonic() < end:
        time.sleep(0.2)
    assert left == ["full"]


def buckets(stack):
    return [row["bucket"] for row in stack.sql("SELECT bucket FROM attempt_limits")]
