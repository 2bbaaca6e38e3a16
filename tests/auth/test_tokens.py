"""Access tokens as they are issued, verified and published."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.auth import tokens
from tests.auth.token_forge import ACCOUNT, AUDIENCE, ISSUER, JWK, JWKS, NOW, PEM, SESSION, verify


def issue(**changed):
    parts = {
        "private_key_pem": PEM, "kid": JWK["kid"], "issuer": ISSUER, "audience": AUDIENCE,
        "account_id": ACCOUNT, "session_id": SESSION, "now": NOW,
    }  # fmt: skip
    return tokens.issue(**(parts | changed))


def test_an_issued_token_says_whose_it_is():
    claims = verify(issue())
    assert (claims.account_id, claims.session_id) == (ACCOUNT, SESSION)
    assert claims.expires_at == NOW + timedelta(seconds=3600)
    assert claims.token_id


def test_any_library_can_verify_our_tokens_by_the_published_keys():
    token = issue(now=datetime.now(UTC))
    key = jwt.PyJWKSet.from_dict(json.loads(json.dumps(JWKS)))[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["ES256"], audience=AUDIENCE, issuer=ISSUER)
    assert sorted(claims) == ["aud", "exp", "iat", "iss", "jti", "sid", "sub"]
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": JWK["kid"], "typ": "at+jwt"}


def test_without_a_time_the_present_counts():
    assert tokens.verify(issue(now=datetime.now(UTC)), JWKS, ISSUER, AUDIENCE)
    with pytest.raises(tokens.TokenInvalid, match="expired"):
        tokens.verify(issue(), JWKS, ISSUER, AUDIENCE)


@pytest.mark.parametrize("seconds", [-60, 0, 3600, 3659])
def test_a_token_is_good_for_its_hour_and_a_minute_of_clock_difference(seconds):
    assert verify(issue(), now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(("seconds", "reason"), [(-61, "future"), (3660, "expired"), (10**8, "expired")])
def test_before_and_after_that_it_is_refused(seconds, reason):
    with pytest.raises(tokens.TokenInvalid, match=reason):
        verify(issue(), now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("lifetime", [0, -1, 3601, 86400])
def test_a_token_that_would_be_refused_is_not_issued(lifetime):
    with pytest.raises(ValueError, match="lives"):
        issue(lifetime=lifetime)


def test_a_shorter_lifetime_is_kept():
    token = issue(lifetime=10)
    assert verify(token).expires_at == NOW + timedelta(seconds=10)
    with pytest.raises(tokens.TokenInvalid, match="expired"):
        verify(token, now=NOW + timedelta(seconds=70))


def test_no_two_tokens_have_the_same_id():
    assert verify(issue()).token_id != verify(issue()).token_id


def test_during_rotation_tokens_of_both_keys_are_good_and_afterwards_the_old_ones_are_not():
    new_pem, new = tokens.generate_key()
    old_token, new_token = issue(), issue(private_key_pem=new_pem, kid=new["kid"])
    both = tokens.jwks([new, JWK])
    assert verify(old_token, both)
    assert verify(new_token, both)
    with pytest.raises(tokens.TokenInvalid, match="no key of ours"):
        verify(old_token, tokens.jwks([new]))


@pytest.mark.parametrize(("issuer", "audience"), [("other", AUDIENCE), (ISSUER, "other"), ("", ""), (AUDIENCE, ISSUER)])
def test_a_token_of_another_issuer_or_for_another_audience_is_refused(issuer, audience):
    with pytest.raises(tokens.TokenInvalid):
        tokens.verify(issue(), JWKS, issuer, audience, NOW)


def test_the_kid_is_the_thumbprint_of_rfc_7638():
    members = {name: JWK[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    assert JWK["kid"] == base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    assert tokens.public_jwk(PEM) == JWK


def test_what_a_caller_does_with_a_public_key_changes_nobody_elses():
    kid = tokens.public_jwk(PEM)["kid"]
    tokens.public_jwk(PEM)["kid"] = "changed"
    assert tokens.public_jwk(PEM)["kid"] == kid


def test_coordinates_that_begin_with_zeros_keep_their_32_bytes():
    for _ in range(300):
        jwk = tokens.generate_key()[1]
        assert {len(jwk["x"]), len(jwk["y"])} == {43}


def test_a_private_key_is_never_published():
    with pytest.raises(ValueError, match="public keys only"):
        tokens.jwks([JWK | {"d": "AAAA"}])


def test_two_keys_with_one_kid_are_refused():
    with pytest.raises(ValueError, match="same kid"):
        tokens.jwks([JWK, tokens.generate_key()[1] | {"kid": JWK["kid"]}])


@pytest.mark.parametrize("kind", ["P-384", "RSA", "Ed25519"])
def test_only_p256_keys_sign(kind):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    made = {
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with pytest.raises(TypeError, match="P-256"):
        tokens.public_jwk(pem)


def test_a_broken_key_in_our_own_configuration_is_not_blamed_on_the_token():
    with pytest.raises(jwt.PyJWTError):
        verify(issue(), {"keys": [JWK | {"x": "AAAA"}]})


@given(st.integers(0, 3600), st.uuids(), st.uuids())
def test_whatever_was_issued_is_read_back(age, account, session):
    claims = verify(issue(account_id=account, session_id=session), now=NOW + timedelta(seconds=age))
    assert (claims.account_id, claims.session_id) == (account, session)
