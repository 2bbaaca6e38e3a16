"""Access tokens over HTTP: forged ones, and those of two keys while the signing key is rotated."""

import hashlib
import hmac
import json
import time

import pytest

from tests.auth import token_forge as forge
from tests.conftest import start_stack, stop_stack
from tests.support import Tenant, accounts, bearer, request

OTHER_PEM, OTHER_JWK = forge.derived_key(1_000_033)


class Real:
    """What the running stack's own tokens are made of."""

    def __init__(self, stack):
        config = json.loads((stack.data / "config.json").read_text())
        token = Tenant(stack).token()
        header, claims = (forge.tokens.decode_object(part) for part in token.split(".")[:2])
        self.token, self.header, self.claims = token, header, claims
        self.pem, self.jwk = config["token_key"], config["jwks"]["keys"][0]

    def signed(self, header=None, claims=None):
        return forge.forge(self.header | (header or {}), self.claims | (claims or {}), self.pem)

    def by_secret(self, secret):
        signed = f"{forge.encode(self.header | {'alg': 'HS256'})}.{forge.encode(self.claims)}"
        return f"{signed}.{forge.encode(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"

    def unsigned(self):
        return f"{forge.encode(self.header | {'alg': 'none'})}.{forge.encode(self.claims)}."

    def own_key_inside(self):
        header = self.header | {"jwk": OTHER_JWK, "kid": OTHER_JWK["kid"]}
        return forge.forge(header, self.claims, OTHER_PEM)


FORGED = {
    "without an algorithm": lambda real: real.unsigned(),
    "by the public key as a secret": lambda real: real.by_secret(json.dumps(real.jwk)),
    "by a key that it brings along": lambda real: real.own_key_inside(),
    "by a key at an address that it names": lambda real: real.signed({"jku": "http://127.0.0.1:9/jwks"}),
    "by a certificate at an address that it names": lambda real: real.signed({"x5u": "http://127.0.0.1:9/cert"}),
    "by somebody else's key in our key's name": lambda real: forge.forge(real.header, real.claims, OTHER_PEM),
    "by an unknown key": lambda real: real.signed({"kid": "unknown"}),
    "with an extension that must be understood": lambda real: real.signed({"crit": ["exp"], "exp": 1}),
    "of another type": lambda real: real.signed({"typ": "JWT"}),
    "for another audience": lambda real: real.signed(claims={"aud": "somebody"}),
    "of another issuer": lambda real: real.signed(claims={"iss": "somebody"}),
    "of an unknown session": lambda real: real.signed(claims={"sid": str(forge.SESSION)}),
    "of somebody else's session": lambda real: real.signed(claims={"sub": str(forge.ACCOUNT)}),
    "that has expired": lambda real: real.signed(
        claims={"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
    ),
    "that lives for ever": lambda real: real.signed(claims={"exp": 9_999_999_999}),
    "that does not say when it ends": lambda real: forge.forge(
        real.header, forge.without(real.claims, "exp"), real.pem
    ),
    "with a claim twice": lambda real: forge.sign(
        forge.encode(real.header), forge.encode(json.dumps(real.claims)[:-1] + ',"sub":"x"}'), real.pem
    ),
    "with padding": lambda real: real.token + "=",
    "that is huge": lambda real: real.signed(claims={"padding": "x" * 5000}),
    "of two parts": lambda real: real.token.rpartition(".")[0],
}


@pytest.fixture(scope="module")
def real(stack):
    return Real(stack)


def me(stack, token):
    return request(stack.base_url, "GET", "/auth/me", **bearer(token))


def test_what_the_forge_signs_unchanged_is_good(stack, real):
    assert me(stack, real.signed()).status == 200


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED)
def test_a_token_is_refused(stack, real, make):
    refused = me(stack, make(real))
    assert (refused.status, refused.code) == (401, "invalid_token")
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


def test_a_session_of_the_dashboard_is_shown_by_its_cookie_only(stack, real):
    tenant = Tenant(stack)
    tenant.sign_in(cookie=True)
    (session,) = stack.sql("SELECT id FROM sessions WHERE account_id = :id::uuid", id=tenant.id)
    refused = me(stack, real.signed(claims={"sub": str(tenant.id), "sid": str(session["id"])}))
    assert refused.code == "invalid_token"


def jwks(stack):
    answer = request(stack.base_url, "GET", "/.well-known/jwks.json")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "public, max-age=3600")
    return [key["kid"] for key in answer.json["keys"]]


def kid(token):
    return forge.tokens.decode_object(token.split(".")[0])["kid"]


def test_while_the_signing_key_is_rotated_the_tokens_of_both_keys_are_good(tmp_path):
    stack = start_stack(tmp_path)
    try:
        tenant, first = Tenant(stack), jwks(stack)
        old = tenant.token()
        accounts(stack, "rotate-signing-key")
        stop_stack(stack)
        stack = start_stack(tmp_path)
        tenant.stack = stack
        both, new = jwks(stack), tenant.token()
        assert both[1:] == first
        assert (kid(old), kid(new)) == (both[1], both[0])
        assert [me(stack, old).status, me(stack, new).status] == [200, 200]

        accounts(stack, "rotate-signing-key")
        stop_stack(stack)
        stack = start_stack(tmp_path)
        assert len(jwks(stack)) == 2
        assert [me(stack, old).code, me(stack, new).code] == ["invalid_token", None]
    finally:
        stop_stack(stack)
