"""Tokens of an external issuer (OpenID Connect), trusted beside our own when one is configured.

Supabase and Google's Identity Platform are the usual ones. Their public keys are found by discovery and kept in the
process. A signed-out session of theirs is not known here: a token is good until it ends, unless its account is
disabled.
"""

import json
import logging
import threading
import time
from functools import cache
from typing import Any

from common.auth.tokens import LEEWAY_S, MAX_FOREIGN_BYTES, TokenInvalid, parse
from common.errors import Unavailable

#: What an issuer's key may sign by: asymmetric only, so that a public key is never taken for a shared secret.
ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
REQUIRED = ("iss", "aud", "sub", "exp")
DISCOVERY = "/.well-known/openid-configuration"
KEEP_S = 600.0
#: An unknown key id may be a new key; it may also be made up, so the issuer is asked no more often than this.
ASK_AGAIN_S = 30.0
#: How soon an issuer that has never answered is asked again.
RETRY_S = 2.0
TIMEOUT_S = 5.0
MAX_DOCUMENT_BYTES = 64 << 10
MAX_SUBJECT = 255


def verify(token: str, issuer: str, audience: str) -> str:
    """The subject that `token` is good for, now. TokenInvalid; Unavailable when the issuer's keys are not to be had."""
    import jwt

    header, claims = parse(token, MAX_FOREIGN_BYTES)
    if "crit" in header or not isinstance(header.get("kid"), str):
        raise TokenInvalid("no key id, or an extension that is not understood")
    key = _keys(issuer).find(header["kid"])
    algorithm = ALGORITHMS.get(key.get("kty", ""))
    if algorithm is None or header.get("alg") != algorithm:
        raise TokenInvalid("not an algorithm of the key's kind")
    try:
        public_key = jwt.PyJWK(key, algorithm)
        jwt.decode(
            token,
            public_key,
            [algorithm],
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY_S,
            options={"require": list(REQUIRED)},
        )
    except jwt.PyJWTError as error:
        raise TokenInvalid(str(error)) from None
    return _subject(claims)


def _subject(claims: dict[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or "\x00" in subject:
        raise TokenInvalid("not a subject")
    return subject


class _Keys:
    """One issuer's public keys by their ids, asked for again when they are old or one is not among them."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._by_id: dict[str, dict[str, Any]] = {}
        self._asked_at = float("-inf")
        self._lock = threading.Lock()

    def find(self, key_id: str) -> dict[str, Any]:
        """The key. TokenInvalid when the issuer has no such key, Unavailable when that cannot be found out."""
        with self._lock:
            if self._due(key_id):
                self._asked_at = time.monotonic()
                self._ask()
            known = self._by_id
        if not known:
            raise Unavailable("The external issuer does not answer.", headers={"Retry-After": "5"})
        if key_id not in known:
            raise TokenInvalid("signed by no key of the issuer")
        return known[key_id]

    def _due(self, key_id: str) -> bool:
        age = time.monotonic() - self._asked_at
        if not self._by_id:
            return age > RETRY_S
        return age > KEEP_S or (key_id not in self._by_id and age > ASK_AGAIN_S)

    def _ask(self) -> None:
        """Ask the issuer. While it does not answer, the keys that are known stay good."""
        try:
            found = _document(_discovered(self._issuer))["keys"]
            self._by_id = {key["kid"]: key for key in found if "kid" in key}
        except (OSError, KeyError, TypeError, ValueError) as error:
            logging.getLogger(__name__).warning("the external issuer's keys are not to be had: %r", error)


@cache
def _keys(issuer: str) -> _Keys:
    return _Keys(issuer)


def _discovered(issuer: str) -> str:
    """Where the issuer's keys are (OpenID Connect Discovery, 4.3: the document must be of this issuer)."""
    document = _document(issuer.rstrip("/") + DISCOVERY)
    if document["issuer"] != issuer:
        raise ValueError("the discovery document is another issuer's")
    url = str(document["jwks_uri"])
    if not url.startswith("https://" if issuer.startswith("https://") else ("https://", "http://")):
        raise ValueError("the issuer's keys are not at an https address")
    return url


def _document(url: str) -> Any:
    """The JSON document at `url`, of a bounded size. OSError or ValueError."""
    import urllib3

    try:
        answer = urllib3.request("GET", url, timeout=TIMEOUT_S, redirect=False, retries=1, preload_content=False)
        data = answer.read(MAX_DOCUMENT_BYTES)
        answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise OSError(f"{url} does not answer") from error
    if answer.status != 200:  # noqa: PLR2004 - the document
        raise OSError(f"{url} answered {answer.status}")
    return json.loads(data)
