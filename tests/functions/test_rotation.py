"""A key gets a new secret: same id, scopes, limits and credits; the old one ends when its grace does."""

from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from uuid import UUID, uuid4

import pytest

from common.dal import keys
from tests.support import request

SCOPES = ["keys:read", "keys:write"]


def make(stack, **fields):
    body = {"name": "an office's key", "scopes": SCOPES, **fields}
    answer = request(stack.base_url, "POST", "/keys", body=body, X_API_Key=stack.api_key)
    assert answer.status == 201, answer.body
    return answer.json


def rotate(stack, key_id, credential=None, **body):
    return request(stack.base_url, "POST", f"/keys/{key_id}/rotate", body=body, X_API_Key=credential or stack.api_key)


def use(stack, secret, **headers):
    return request(stack.base_url, "GET", "/keys", X_API_Key=secret, **headers)


def listed(stack, key_id):
    items = request(stack.base_url, "GET", "/keys?limit=100", X_API_Key=stack.api_key).json["items"]
    return next(item for item in items if item["id"] == key_id)


def moment(text):
    return datetime.fromisoformat(text)


def age(stack, column, key_id, **by):
    """Move one time of a key's secrets into the past."""
    stack.sql(
        f"UPDATE plugin_api_key_secrets SET {column} = {column} - :by::interval WHERE key_id = :id::uuid RETURNING 1",
        id=key_id,
        by=timedelta(**by),
    )


def test_the_new_secret_works_and_the_old_one_says_when_it_ends(stack):
    made = make(stack)
    answer = rotate(stack, made["id"], graceSeconds=3600)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.json) == {"id", "key", "hint", "previous"}
    assert (answer.json["id"], answer.json["previous"]["hint"]) == (made["id"], made["hint"])
    left = moment(answer.json["previous"]["validUntil"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)

    assert "X-Renderiq-Key-Rotated" not in use(stack, answer.json["key"]).headers
    old = use(stack, made["key"])
    assert old.status == 200
    assert old.headers["X-Renderiq-Key-Rotated"] == f"grace-ends={answer.json['previous']['validUntil']}"


def test_a_refusal_tells_of_the_rotation_and_the_limits_too(stack):
    made = make(stack)
    rotate(stack, made["id"])
    refused = request(stack.base_url, "GET", "/credits", X_API_Key=made["key"])
    assert refused.status == 403
    assert refused.headers["X-Renderiq-Key-Rotated"]
    assert refused.headers["RateLimit"]


def test_without_a_body_the_grace_is_a_day(stack):
    made = make(stack)
    answer = request(stack.base_url, "POST", f"/keys/{made['id']}/rotate", X_API_Key=stack.api_key)
    left = moment(answer.json["previous"]["validUntil"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(days=1)


def test_without_a_grace_the_old_secret_ends_at_once(stack):
    made = make(stack)
    rotated = rotate(stack, made["id"], graceSeconds=0).json
    refused = use(stack, made["key"])
    assert (refused.status, refused.code) == (401, "key_expired")
    assert use(stack, rotated["key"]).status == 200
    assert [secret["hint"] for secret in listed(stack, made["id"])["secrets"]] == [rotated["hint"]]


def test_the_grace_ends(stack):
    made = make(stack)
    rotate(stack, made["id"], graceSeconds=3600)
    age(stack, "valid_until", made["id"], hours=2)
    assert use(stack, made["key"]).code == "key_expired"


@pytest.mark.parametrize("grace", [-1, 604_801, 1.5, "60", None, True])
def test_a_grace_is_whole_seconds_of_at_most_a_week(stack, grace):
    refused = rotate(stack, make(stack)["id"], graceSeconds=grace)
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert refused.json["errors"][0]["field"] == "graceSeconds"


def test_scopes_platforms_expiry_and_limits_stay(stack):
    ends = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = make(stack, platforms=["revit"], expiresAt=ends, maxAgeDays=30)
    before = listed(stack, made["id"])
    rotated = rotate(stack, made["id"]).json
    after = listed(stack, made["id"])
    same = ("id", "name", "scopes", "platforms", "createdAt", "expiresAt", "revokedAt", "maxAgeDays")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert use(stack, rotated["key"], X_Renderiq_Platform="revit").status == 200
    assert use(stack, rotated["key"], X_Renderiq_Platform="rhino").code == "platform_not_allowed"


def test_a_rotation_never_extends_a_life(stack):
    ends = datetime.now(UTC) + timedelta(minutes=5)
    made = make(stack, expiresAt=ends.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    previous = rotate(stack, made["id"], graceSeconds=604_800).json["previous"]
    assert moment(previous["validUntil"]) == ends


@pytest.mark.parametrize("end", ["revoked_at = now()", "expires_at = now()"])
def test_a_key_that_is_over_is_not_rotated(stack, end):
    made = make(stack)
    stack.sql(f"UPDATE plugin_api_keys SET {end} WHERE id = :id::uuid RETURNING 1", id=made["id"])
    refused = rotate(stack, made["id"])
    assert (refused.status, refused.code) == (409, "key_not_rotatable")


def test_revoking_ends_every_secret(stack):
    made = make(stack)
    rotated = rotate(stack, made["id"]).json
    request(stack.base_url, "DELETE", f"/keys/{made['id']}", X_API_Key=stack.api_key)
    assert [use(stack, made["key"]).code, use(stack, rotated["key"]).code] == ["key_revoked"] * 2


def test_a_further_rotation_ends_the_older_grace(stack):
    first = make(stack)
    second = rotate(stack, first["id"]).json
    assert use(stack, second["key"]).status == 200
    third = rotate(stack, first["id"]).json
    assert third["previous"]["hint"] == second["hint"]
    assert use(stack, first["key"]).code == "key_expired"
    assert [use(stack, second["key"]).status, use(stack, third["key"]).status] == [200, 200]


def test_a_rotation_whose_answer_was_lost_is_asked_for_again_with_the_old_secret(stack):
    first = make(stack)
    lost = rotate(stack, first["id"], credential=first["key"], graceSeconds=3600).json
    again = rotate(stack, first["id"], credential=first["key"], graceSeconds=604_800).json
    assert again["previous"] == lost["previous"], "the older grace stands, and is not extended"
    assert use(stack, lost["key"]).code == "key_expired"
    assert [use(stack, first["key"]).status, use(stack, again["key"]).status] == [200, 200]


def test_a_secret_that_was_only_ever_refused_was_not_lost(stack):
    first = make(stack)
    second = rotate(stack, first["id"]).json
    assert request(stack.base_url, "GET", "/credits", X_API_Key=second["key"]).status == 403
    rotate(stack, first["id"])
    assert use(stack, second["key"]).status == 200
    assert use(stack, first["key"]).code == "key_expired"


def test_a_repeated_request_shows_no_secret_again(stack):
    made = make(stack)
    once = {"X-API-Key": stack.api_key, "Idempotency-Key": str(uuid4())}
    first = request(stack.base_url, "POST", f"/keys/{made['id']}/rotate", body={}, **once)
    again = request(stack.base_url, "POST", f"/keys/{made['id']}/rotate", body={}, **once)
    assert (first.status, again.status, again.code) == (200, 409, "secret_already_shown")
    assert use(stack, first.json["key"]).status == 200


def test_a_rotation_of_another_key_is_another_request(stack):
    once = {"X-API-Key": stack.api_key, "Idempotency-Key": str(uuid4())}
    first, other = (
        request(stack.base_url, "POST", f"/keys/{make(stack)['id']}/rotate", body={}, **once) for _ in range(2)
    )
    assert (first.status, other.status, other.code) == (200, 422, "idempotency_mismatch")


def test_of_many_rotations_at_once_one_secret_is_current_and_one_in_its_grace(stack):
    made = make(stack)
    start, answers = Barrier(8), []

    def run():
        start.wait()
        answers.append(rotate(stack, made["id"], credential=made["key"]))

    threads = [Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 8
    good = [answer.json["key"] for answer in answers if use(stack, answer.json["key"]).status == 200]
    assert len(good) == 1
    assert [secret["validUntil"] is None for secret in listed(stack, made["id"])["secrets"]] == [True, False]


def test_a_rotation_that_waited_for_others_does_not_see_what_they_ended(stack):
    made, conn = make(stack), stack.connect()
    try:
        with conn.transaction():
            conn.one("SELECT now()")
            for _ in range(2):
                rotate(stack, made["id"])
            new = {"grace_s": 60, "sha256": uuid4().bytes, "hint": "new"}
            previous = keys.rotate(conn, UUID(made["id"]), **new)
            assert previous["hint"] == made["hint"], "its answer was lost: the older one stands"
    finally:
        conn.close()


IN_AN_HOUR, IN_A_DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime.now(UTC)


def bounds(told):
    """A key's fields, its end as a time."""
    return told | ({"expiresAt": (NOW + told["expiresAt"]).isoformat()} if "expiresAt" in told else {})


#: What the caller's key is, what the other one is to be, and the code of the refusal; None when there is none.
BOUNDS = [
    pytest.param(caller, other, code, id=f"{caller} {other}")
    for caller, other, code in [
        ({}, {}, None),
        ({}, {"platforms": ["rhino"], "expiresAt": IN_A_DAY}, None),
        ({}, {"scopes": [*SCOPES, "renders:write"]}, "scope_not_grantable"),
        ({"platforms": ["revit"]}, {"platforms": ["revit"]}, None),
        ({"platforms": ["revit"]}, {}, "platform_not_allowed"),
        ({"platforms": ["revit"]}, {"platforms": ["rhino"]}, "platform_not_allowed"),
        ({"platforms": ["revit"]}, {"platforms": ["revit", "rhino"]}, "platform_not_allowed"),
        ({"platforms": ["revit", "rhino"]}, {"platforms": ["revit"]}, None),
        ({"expiresAt": IN_AN_HOUR}, {"expiresAt": IN_AN_HOUR}, None),
        ({"expiresAt": IN_AN_HOUR}, {}, "scope_not_grantable"),
        ({"expiresAt": IN_AN_HOUR}, {"expiresAt": IN_A_DAY}, "scope_not_grantable"),
        ({"expiresAt": IN_A_DAY}, {"expiresAt": IN_AN_HOUR}, None),
    ]
]


@pytest.mark.parametrize(("caller", "other", "code"), BOUNDS)
def test_a_key_makes_and_rotates_no_key_that_may_do_more_than_itself(stack, caller, other, code):
    key, other = make(stack, **bounds(caller))["key"], bounds(other)
    body = {"name": "another", "scopes": SCOPES, **other}
    sent = {"X_API_Key": key, "X_Renderiq_Platform": "revit"}
    made = request(stack.base_url, "POST", "/keys", body=body, **sent)
    assert (made.status, made.code) == ((403, code) if code else (201, None)), made.body

    target = make(stack, **other)
    rotated = request(stack.base_url, "POST", f"/keys/{target['id']}/rotate", body={}, **sent)
    assert (rotated.status, rotated.code) == ((403, code) if code else (200, None)), rotated.body
    assert "X-Renderiq-Key-Rotated" not in use(stack, target["key"]).headers or not code


@pytest.mark.parametrize("fields", [{}, {"platforms": ["revit"]}, {"expiresAt": IN_AN_HOUR}], ids=str)
def test_a_key_rotates_itself_whatever_it_is_bound_to(stack, fields):
    made = make(stack, **bounds(fields))
    lost = rotate(stack, made["id"], credential=made["key"])
    again = rotate(stack, made["id"], credential=made["key"])
    assert [lost.status, again.status] == [200, 200]
    assert use(stack, again.json["key"]).status == 200


def test_the_list_tells_who_still_uses_the_old_secret(stack):
    made = make(stack)
    rotated = rotate(stack, made["id"]).json
    use(stack, made["key"], X_Renderiq_Platform="revit")
    use(stack, rotated["key"], X_Renderiq_Platform="rhino")
    told = listed(stack, made["id"])
    current, old = told["secrets"]
    assert (told["lastUsedAt"], told["lastUsedPlatform"]) == (current["lastUsedAt"], "rhino")
    assert (current["hint"], current["lastUsedPlatform"], current["validUntil"]) == (rotated["hint"], "rhino", None)
    assert (old["hint"], old["lastUsedPlatform"]) == (made["hint"], "revit")
    assert old["validUntil"]


def test_the_last_use_of_a_key_is_at_most_a_minute_old_and_from_the_last_platform(stack):
    made = make(stack)
    use(stack, made["key"], X_Renderiq_Platform="revit")
    use(stack, made["key"], X_Renderiq_Platform="rhino")
    assert listed(stack, made["id"])["lastUsedPlatform"] == "rhino"
    age(stack, "last_used_at", made["id"], seconds=61)
    before = listed(stack, made["id"])["lastUsedAt"]
    use(stack, made["key"], X_Renderiq_Platform="rhino")
    assert moment(listed(stack, made["id"])["lastUsedAt"]) > moment(before)


def test_a_refused_call_is_no_use(stack):
    made = make(stack)
    assert request(stack.base_url, "GET", "/credits", X_API_Key=made["key"]).status == 403
    told = listed(stack, made["id"])
    for used in (told, told["secrets"][0]):
        assert (used["lastUsedAt"], used["lastUsedPlatform"]) == (None, None)


def test_the_last_use_of_a_key_outlives_the_secret_that_it_was_used_by(stack):
    made = make(stack)
    use(stack, made["key"], X_Renderiq_Platform="revit")
    before = listed(stack, made["id"])
    rotate(stack, made["id"], graceSeconds=0)
    after = listed(stack, made["id"])
    assert after["lastUsedPlatform"] == "revit"
    assert after["lastUsedAt"] == before["lastUsedAt"]
    assert [secret["lastUsedAt"] for secret in after["secrets"]] == [None]


@pytest.mark.parametrize(("days", "asked"), [(7, False), (9, True), (20, True)])
def test_past_four_fifths_of_its_age_a_secret_asks_for_its_rotation(stack, days, asked):
    made = make(stack, maxAgeDays=10)
    age(stack, "created_at", made["id"], days=days)
    answer = use(stack, made["key"])
    assert answer.status == 200
    told = answer.headers.get("X-Renderiq-Key-Rotate-By")
    created = moment(listed(stack, made["id"])["secrets"][0]["createdAt"])
    assert (told and moment(told)) == (created + timedelta(days=10) if asked else None)


def test_a_rotated_secret_begins_its_age_anew(stack):
    made = make(stack, maxAgeDays=10)
    age(stack, "created_at", made["id"], days=9)
    rotated = rotate(stack, made["id"]).json
    assert "X-Renderiq-Key-Rotate-By" not in use(stack, rotated["key"]).headers
    assert "X-Renderiq-Key-Rotate-By" not in use(stack, made["key"]).headers, "it is told of its grace instead"


@pytest.mark.parametrize("days", [0, -1, 3651, 1.5, "10"])
def test_an_age_is_whole_days(stack, days):
    body = {"name": "k", "scopes": SCOPES, "maxAgeDays": days}
    refused = request(stack.base_url, "POST", "/keys", body=body, X_API_Key=stack.api_key)
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "maxAgeDays")
