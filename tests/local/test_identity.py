"""The local issuer's tokens look like Google's, and only its own are good."""

import base64
import json
import time

import jwt
import pytest

from common.auth import task_identity
from common.clock import now
from tools.local.identity import InvalidToken, Issuer, generate_key_pem, public_pem

EMAIL = "tasks@example-project.iam.gserviceaccount.com"
AUDIENCE = "renderiq-tasks-run-render"


@pytest.fixture(scope="module")
def key_pem():
    return generate_key_pem()


@pytest.fixture(scope="module")
def issuer(key_pem):
    return Issuer(key_pem, EMAIL)


def test_a_token_has_the_claims_of_googles(issuer):
    token = issuer.mint(AUDIENCE)
    claims = issuer.verify(token, AUDIENCE)
    assert claims["iss"] == "https://accounts.google.com"
    assert claims["aud"] == AUDIENCE
    assert (claims["email"], claims["email_verified"]) == (EMAIL, True)
    assert claims["sub"].isdecimal() and len(claims["sub"]) == 21
    assert claims["exp"] - claims["iat"] == 3600
    assert abs(claims["iat"] - time.time()) < 5
    assert jwt.get_unverified_header(token)["alg"] == "RS256"


def test_anybody_with_the_public_key_can_verify_a_token(issuer, key_pem):
    claims = jwt.decode(issuer.mint(AUDIENCE), public_pem(key_pem), algorithms=["RS256"], audience=AUDIENCE)
    assert claims["email"] == EMAIL


def test_the_same_account_keeps_its_subject(issuer):
    again = Issuer(generate_key_pem(), EMAIL)
    other = Issuer(generate_key_pem(), "other@example.com")
    subjects = [each.verify(each.mint("a"), "a")["sub"] for each in (issuer, again, other)]
    assert subjects[0] == subjects[1] != subjects[2]


def test_a_token_for_another_audience_is_refused(issuer):
    with pytest.raises(InvalidToken):
        issuer.verify(issuer.mint("another"), AUDIENCE)


def test_an_expired_token_is_refused(issuer):
    with pytest.raises(InvalidToken):
        issuer.verify(issuer.mint(AUDIENCE, lifetime_s=-1), AUDIENCE)


def test_a_token_of_another_key_is_refused(issuer):
    forged = Issuer(generate_key_pem(), EMAIL).mint(AUDIENCE)
    with pytest.raises(InvalidToken):
        issuer.verify(forged, AUDIENCE)


def test_a_token_of_another_account_with_the_same_key_is_refused(issuer, key_pem):
    with pytest.raises(InvalidToken):
        issuer.verify(Issuer(key_pem, "other@example.com").mint(AUDIENCE), AUDIENCE)


def test_an_unsigned_token_is_refused(issuer):
    claims = issuer.verify(issuer.mint(AUDIENCE), AUDIENCE)
    with pytest.raises(InvalidToken):
        issuer.verify(jwt.encode(claims, None, "none"), AUDIENCE)


@pytest.mark.parametrize("missing", ["sub", "iat", "exp", "email", "email_verified", "iss", "aud"])
def test_a_token_that_lacks_a_claim_is_refused(issuer, key_pem, missing):
    claims = issuer.verify(issuer.mint(AUDIENCE), AUDIENCE)
    del claims[missing]
    with pytest.raises(InvalidToken):
        issuer.verify(jwt.encode(claims, key_pem, "RS256"), AUDIENCE)


@pytest.mark.parametrize("garbage", ["", "x", "a.b.c", "....", "é.é.é"])
def test_garbage_is_refused(issuer, garbage):
    with pytest.raises(InvalidToken):
        issuer.verify(garbage, AUDIENCE)


def test_a_changed_claim_is_refused(issuer):
    head, payload, signature = issuer.mint(AUDIENCE).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = base64.urlsafe_b64encode(json.dumps(claims | {"aud": "x"}).encode()).decode().rstrip("=")
    with pytest.raises(InvalidToken):
        issuer.verify(f"{head}.{changed}.{signature}", "x")


def test_a_stripped_token_keeps_its_claims_but_is_no_longer_good(issuer):
    token = issuer.mint(AUDIENCE)
    stripped = Issuer.strip_signature(token)
    assert stripped.split(".")[:2] == token.split(".")[:2]
    assert stripped.endswith(".SIGNATURE_REMOVED_BY_GOOGLE")
    with pytest.raises(InvalidToken):
        issuer.verify(stripped, AUDIENCE)


def test_a_function_accepts_the_stripped_token_and_only_that(issuer):
    token = issuer.mint(AUDIENCE)
    task_identity.check(f"Bearer {Issuer.strip_signature(token)}", AUDIENCE, EMAIL, now())
    with pytest.raises(task_identity.TaskIdentityError):
        task_identity.check(f"Bearer {token}", AUDIENCE, EMAIL, now())


def test_a_key_that_is_not_rsa_is_refused():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="RSA"):
        Issuer(pem.decode(), EMAIL)
