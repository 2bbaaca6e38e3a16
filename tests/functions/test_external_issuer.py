"""Tokens of an external issuer, with its keys found by discovery over HTTP."""

import http.server
import json
import threading
import time
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from common.auth import oidc
from common.auth.tokens import TokenInvalid
from common.errors import Unavailable
from tests.conftest import start_stack, stop_stack
from tests.support import request

AUDIENCE = "authenticated"
SUBJECT = "6f1b0c1e-external"


class Issuer:
    """An issuer with an RSA and an elliptic-curve key, and its two documents."""

    def __init__(self):
        self.keys = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())}
        self.algorithms = {"rsa": "RS256", "ec": "ES256"}
        self.asked, self.answers = [], True
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                document = issuer.document(self.path) if issuer.answers else None
                self.send_response(200 if document else 503)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/auth/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def document(self, path):
        if path == "/auth/v1/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [self.public(kid) for kid in self.keys]} if path == "/auth/v1/keys" else None

    def public(self, kid):
        algorithm = RSAAlgorithm if self.algorithms[kid] == "RS256" else ECAlgorithm
        return algorithm.to_jwk(self.keys[kid].public_key(), as_dict=True) | {"kid": kid, "use": "sig"}

    def modulus(self):
        """The public key's own bytes, which a careless verifier would take for an HMAC key."""
        return self.keys["rsa"].public_key().public_numbers().n.to_bytes(256, "big")

    def token(self, kid="rsa", key=None, algorithm=None, headers=None, **claims):
        now = int(time.time())
        all_claims = {"iss": self.url, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + 3600} | claims
        present = {name: value for name, value in all_claims.items() if value is not None}
        key = None if algorithm == "none" else key or self.keys[kid]
        return jwt.encode(present, key, algorithm or self.algorithms[kid], headers={"kid": kid, **(headers or {})})


@pytest.fixture(scope="module")
def issuer():
    found = Issuer()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def trusting(issuer, tmp_path_factory):
    """A stack that trusts the issuer, with an account of its subject."""
    trust = {"OIDC_ISSUER": issuer.url, "OIDC_AUDIENCE": AUDIENCE, "FAILURES_PER_MINUTE": "100000"}
    running = start_stack(tmp_path_factory.mktemp("trusting"), **trust)
    running.sql("UPDATE accounts SET external_subject = :subject::text RETURNING 1", subject=SUBJECT)
    yield running
    stop_stack(running)


def me(stack, token):
    return request(stack.base_url, "GET", "/auth/me", Authorization=f"Bearer {token}")


@pytest.mark.parametrize("kid", ["rsa", "ec"])
def test_its_token_is_the_account_with_its_subject(trusting, issuer, kid):
    told = me(trusting, issuer.token(kid))
    assert told.status == 200, told.body
    assert (told.json["user"]["email"], told.json["credential"]["kind"]) == (trusting.email, "session")
    assert told.headers["RateLimit"]


def test_clocks_may_differ_by_a_minute(trusting, issuer):
    assert me(trusting, issuer.token(exp=int(time.time()) - 30)).status == 200


def test_it_is_a_signed_in_person_with_every_scope(trusting, issuer):
    auth = {"Authorization": f"Bearer {issuer.token()}"}
    made = request(trusting.base_url, "POST", "/keys", body={"name": "k", "scopes": ["credits:read"]}, **auth)
    assert made.status == 201
    assert request(trusting.base_url, "GET", "/credits", X_API_Key=made.json["key"]).status == 200


OTHER = rsa.generate_private_key(65537, 2048)
HOSTILE = {
    "of another subject": lambda of: of.token(sub="somebody else"),
    "without a subject": lambda of: of.token(sub=None),
    "with a subject that no database holds": lambda of: of.token(sub="a\x00b"),
    "with an empty subject": lambda of: of.token(sub=""),
    "for another audience": lambda of: of.token(aud="others"),
    "without an audience": lambda of: of.token(aud=None),
    "expired": lambda of: of.token(exp=int(time.time()) - 120),
    "that never ends": lambda of: of.token(exp=None),
    "from the future": lambda of: of.token(nbf=int(time.time()) + 600),
    "signed by another key": lambda of: of.token(key=OTHER),
    "with an unknown key id": lambda of: of.token(key=OTHER, headers={"kid": "unknown"}),
    "with a critical extension": lambda of: of.token(headers={"crit": ["exp"]}),
    "with a shared secret of the public key": lambda of: of.token(key=of.modulus(), algorithm="HS256"),
    "unsigned": lambda of: of.token(algorithm="none"),
    "with another algorithm than the key's": lambda of: of.token(algorithm="RS512"),
    "of our own issuer, signed by theirs": lambda of: of.token(iss="renderiq"),
    "that is huge": lambda of: of.token(padding="x" * 9000),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_token_is_refused(trusting, issuer, make):
    refused = me(trusting, make(issuer))
    assert (refused.status, refused.code) == (401, "invalid_token")


def test_a_disabled_account_is_refused_on_the_next_request(trusting, issuer):
    token = issuer.token()
    trusting.sql("UPDATE accounts SET disabled_at = now() RETURNING 1")
    try:
        assert me(trusting, token).code == "invalid_token"
    finally:
        trusting.sql("UPDATE accounts SET disabled_at = NULL RETURNING 1")
    assert me(trusting, token).status == 200


def test_made_up_key_ids_do_not_make_us_ask_again_and_again(trusting, issuer):
    me(trusting, issuer.token())
    before = len(issuer.asked)
    for _ in range(20):
        me(trusting, issuer.token(headers={"kid": uuid4().hex}))
    assert len(issuer.asked) - before <= 2, "one discovery and one set of keys at most"


def test_signing_out_one_token_of_theirs_is_theirs_to_do_and_ours_still_end(trusting, issuer):
    ours = request(
        trusting.base_url, "POST", "/auth/signin", body={"email": trusting.email, "password": trusting.password}
    ).json["accessToken"]
    assert me(trusting, ours).status == 200
    theirs = {"Authorization": f"Bearer {issuer.token()}"}
    assert request(trusting.base_url, "POST", "/auth/signout", body={"everywhere": True}, **theirs).status == 204
    assert me(trusting, ours).code == "invalid_token"


def test_where_no_issuer_is_trusted_its_tokens_are_not(stack, issuer):
    assert me(stack, issuer.token()).code == "invalid_token"


def test_an_issuer_that_does_not_answer_is_not_the_callers_fault_and_heals(tmp_path, issuer):
    issuer.answers = False
    stack = start_stack(tmp_path, OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE)
    try:
        stack.sql("UPDATE accounts SET external_subject = :subject::text RETURNING 1", subject=SUBJECT)
        refused = me(stack, issuer.token())
        assert (refused.status, refused.code) == (503, "unavailable")
        assert refused.json["detail"] == "The service cannot answer now; try again later", "why is for the log"
        assert request(stack.base_url, "GET", "/auth/me", X_API_Key=stack.api_key).status == 200
        issuer.answers = True
        end = time.monotonic() + 30
        while me(stack, issuer.token()).status != 200:
            assert time.monotonic() < end
            time.sleep(0.2)
    finally:
        issuer.answers = True
        stop_stack(stack)


@pytest.fixture
def alone():
    """An issuer whose keys nobody has asked for yet."""
    found = Issuer()
    yield found
    found.server.shutdown()
    found.server.server_close()


def verify(issuer, **token):
    return oidc.verify(issuer.token(**token), issuer.url, AUDIENCE)


def later(issuer, seconds):
    """As if that time had passed since its keys were asked for."""
    oidc._keys(issuer.url)._asked_at -= seconds


def test_a_new_key_of_the_issuer_is_found_and_asked_for_at_most_every_half_minute(alone):
    assert verify(alone) == SUBJECT
    alone.keys["new"], alone.algorithms["new"] = OTHER, "RS256"
    with pytest.raises(TokenInvalid):
        verify(alone, kid="new")
    later(alone, 31)
    assert verify(alone, kid="new") == SUBJECT


def test_a_key_that_the_issuer_withdrew_is_refused_ten_minutes_later(alone):
    token = alone.token()
    verify(alone, kid="ec")
    del alone.keys["rsa"]
    assert oidc.verify(token, alone.url, AUDIENCE) == SUBJECT
    later(alone, 601)
    with pytest.raises(TokenInvalid):
        oidc.verify(token, alone.url, AUDIENCE)


def test_while_the_issuer_does_not_answer_the_keys_that_are_known_stay_good(alone):
    verify(alone)
    alone.answers = False
    later(alone, 601)
    assert verify(alone) == SUBJECT


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://somebody.example"},
        {"jwks_uri": None},
        {"jwks_uri": "http://127.0.0.1:9/keys"},
    ],
    ids=str,
)
def test_a_discovery_that_does_not_lead_to_the_issuers_keys_is_followed_no_further(alone, document):
    told = alone.document
    alone.document = lambda path: told(path) | (document if path.endswith("configuration") else {})
    with pytest.raises(Unavailable):
        verify(alone)
    assert "/auth/v1/keys" not in alone.asked
