"""Internal tasks: whose token it must be, and what is left to check behind Cloud Run's IAM."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.auth.task_identity import STRIPPED_SIGNATURE, TaskIdentityError, check
from tools.local.identity import Issuer, generate_key_pem

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EMAIL, AUDIENCE = "tasks@renderiq.iam.gserviceaccount.com", "renderiq-tasks-run-render"
CLAIMS = {
    "iss": "https://accounts.google.com", "aud": AUDIENCE, "azp": "100000000000000000000", "sub": "100000000000000000000",
    "email": EMAIL, "email_verified": True, "iat": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 3600,
}  # fmt: skip
ISSUER = Issuer(generate_key_pem(), EMAIL)


def encode(part):
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def bearer(claims=CLAIMS, end=STRIPPED_SIGNATURE):
    return f"Bearer {encode({'alg': 'RS256', 'kid': 'x', 'typ': 'JWT'})}.{encode(claims)}.{end}"


def refused(header, reason, now=NOW):
    with pytest.raises(TaskIdentityError, match=reason):
        check(header, AUDIENCE, EMAIL, now)


def test_our_own_tasks_are_let_in():
    check(bearer(), AUDIENCE, EMAIL, NOW)


def test_a_token_that_the_issuer_signed_is_let_in_after_the_platform_took_the_signature_and_not_before():
    token = ISSUER.mint(AUDIENCE)
    now = datetime.now(UTC)
    refused(f"Bearer {token}", "nobody has verified", now)
    check(f"Bearer {Issuer.strip_signature(token)}", AUDIENCE, EMAIL, now)


def test_the_marker_alone_proves_nothing_so_iam_has_to_stand_in_front():
    """Anyone can write it: without IAM this very header would be let in."""
    check(bearer(CLAIMS), AUDIENCE, EMAIL, NOW)


@pytest.mark.parametrize(
    "end", ["", "AAAA", "signature_removed_by_google", STRIPPED_SIGNATURE + "=", STRIPPED_SIGNATURE[:-1], "x" * 342]
)
def test_a_token_that_nobody_verified_is_refused_whatever_it_says(end):
    refused(bearer(end=end), "nobody has verified")


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer x", "Bearer a.b", "Basic dTpw", bearer()[7:], bearer().replace("Bearer", "Basic"),
     bearer() + ".x", bearer() + "," + bearer(), "Bearer " + "." * 100_000],
    ids=lambda header: repr(header)[:20],
)  # fmt: skip
def test_a_call_without_one_token_is_refused(header):
    refused(header, "no token|nobody")


@pytest.mark.parametrize(
    "changed",
    [
        {"email": "other@renderiq.iam.gserviceaccount.com"}, {"email": EMAIL.upper()}, {"email": [EMAIL]}, {"email": None},
        {"email_verified": False}, {"email_verified": "true"}, {"email_verified": 1}, {"email_verified": None},
        {"aud": "renderiq-tasks-sweep"}, {"aud": [AUDIENCE]}, {"aud": ""}, {"aud": None},
    ],
    ids=str,
)  # fmt: skip
def test_another_account_or_another_task_is_refused(changed):
    refused(bearer(CLAIMS | changed), "a token of")


@pytest.mark.parametrize("name", ["email", "email_verified", "aud", "exp"])
def test_a_missing_claim_is_refused(name):
    refused(bearer({key: value for key, value in CLAIMS.items() if key != name}), "a token of|expired")


@pytest.mark.parametrize(
    "expires", [None, True, "nan", "inf", float("nan"), float("inf"), str(CLAIMS["exp"]), 1e308, [], 0, -1], ids=repr
)
def test_a_time_that_never_comes_is_none(expires):
    refused(bearer(CLAIMS | {"exp": expires}), "expired, or it says no time")


def test_a_token_is_good_until_a_minute_after_its_end():
    end = NOW + timedelta(hours=1)
    check(bearer(), AUDIENCE, EMAIL, end + timedelta(seconds=60))
    refused(bearer(), "expired", end + timedelta(seconds=61))


@pytest.mark.parametrize(
    "claims",
    [b"", b"null", b"[]", b"{", b"\xff", b"[" * 2500, b'{"email":"a","email":"b"}', b'{"a":' * 400],
    ids=lambda raw: repr(raw)[:20],
)
def test_unreadable_claims_are_refused_and_crash_nothing(claims):
    refused(bearer(claims), "unreadable")


def test_a_token_above_4_kib_is_refused_before_anything_of_it_is_read():
    refused(bearer(CLAIMS | {"x": "x" * 4096}), "no token")


def test_the_scheme_knows_no_case():
    check(bearer().replace("Bearer", "bearer"), AUDIENCE, EMAIL, NOW)


@given(st.text(max_size=200))
def test_nothing_that_somebody_types_gets_in_or_crashes(text):
    refused(text, ".")
    refused(f"Bearer {text}", ".")
    refused(f"Bearer a.{text}.{STRIPPED_SIGNATURE}", ".")
