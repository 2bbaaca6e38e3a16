"""Access tokens: ES256 JWTs (RFC 9068) of an hour. PyJWT and cryptography are imported on first use.

Everything that could let a token choose how it is verified is refused before PyJWT sees it: the algorithm is
ours, the key is found by `kid` in our own set, and no header may bring a key along. Whether an account or a session
still stands is not known here: the caller statement asks the database.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from common import clock

ALGORITHM, TYPE = "ES256", "at+jwt"
MAX_BYTES = 4096
#: Other issuers put more into theirs.
MAX_FOREIGN_BYTES = 8192
LEEWAY_S = 60
MAX_LIFETIME_S = 3600
_HEADER = frozenset({"alg", "kid", "typ"})
_PUBLIC_JWK = frozenset({"alg", "crv", "kid", "kty", "use", "x", "y"})


class TokenInvalid(Exception):
    """The token is not a good one of ours; the reason is for our log, never for the caller."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    account_id: UUID
    session_id: UUID
    expires_at: datetime
    token_id: str


def generate_key() -> tuple[str, dict[str, str]]:
    """A new private key (PEM) and its public JWK."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return pem, public_jwk(pem)


def public_jwk(private_key_pem: str) -> dict[str, str]:
    """The public half as a JWK; its `kid` is its thumbprint (RFC 7638). TypeError for a key that is not P-256."""
    return dict(_public_jwk(private_key_pem))


def jwks(keys: Iterable[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """The JWKS document of public `keys`: one, or two during rotation.

    It is published, so ValueError for a key with any other member than `public_jwk` gives (`d` is the private half),
    and for two keys with one `kid`.
    """
    listed = list(keys)
    if any(not isinstance(key, dict) or set(key) != _PUBLIC_JWK for key in listed):
        raise ValueError("a JWKS holds public keys only")
    if len({key["kid"] for key in listed}) != len(listed):
        raise ValueError("two keys have the same kid")
    return {"keys": listed}


@lru_cache(maxsize=4)
def _public_jwk(private_key_pem: str) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(private_key_pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TypeError("the token key is an elliptic-curve key on P-256")
    numbers = key.public_key().public_numbers()
    jwk = {
        "crv": "P-256",
        "kty": "EC",
        "x": _encode(numbers.x.to_bytes(32, "big")),
        "y": _encode(numbers.y.to_bytes(32, "big")),
    }
    thumbprint = hashlib.sha256(json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()).digest()
    return jwk | {"kid": _encode(thumbprint), "alg": ALGORITHM, "use": "sig"}


def issue(
    *,
    private_key_pem: str,
    kid: str,
    issuer: str,
    audience: str,
    account_id: UUID,
    session_id: UUID,
    now: datetime,
    lifetime: int = MAX_LIFETIME_S,
) -> str:
    """A token for a session, good for `lifetime` seconds. ValueError for a lifetime that `verify` would refuse."""
    import jwt

    if not 0 < lifetime <= MAX_LIFETIME_S:
        raise ValueError(f"an access token lives 1 to {MAX_LIFETIME_S} s")
    issued_at = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": str(account_id),
        "sid": str(session_id),
        "iat": issued_at,
        "exp": issued_at + lifetime,
        "jti": uuid4().hex,
    }
    return jwt.encode(claims, private_key_pem, ALGORITHM, headers={"kid": kid, "typ": TYPE})


def verify(token: str, jwks: dict[str, Any], issuer: str, audience: str, now: datetime | None = None) -> Claims:
    """What `token` says. TokenInvalid unless one of `jwks` signed it, for us, and it is good `now`.

    What PyJWT raises for a broken key in `jwks` is passed on: that is our configuration's fault, not the token's.
    """
    import jwt

    header, payload = parse(token)
    if set(header) != _HEADER or header["alg"] != ALGORITHM or header["typ"] != TYPE:
        raise TokenInvalid("the header is not as ours are")
    key = next((key for key in jwks["keys"] if key["kid"] == header["kid"]), None)
    if key is None:
        raise TokenInvalid("signed by no key of ours")
    public_key = jwt.PyJWK(key, ALGORITHM)
    _check_times(payload, int((now or clock.now()).timestamp()))
    try:
        jwt.decode(token, public_key, [ALGORITHM], audience=audience, issuer=issuer, options=_options())
    except jwt.PyJWTError as error:
        raise TokenInvalid(str(error)) from None
    return Claims(
        account_id=_uuid(payload["sub"]),
        session_id=_uuid(payload["sid"]),
        expires_at=datetime.fromtimestamp(payload["exp"], UTC),
        token_id=payload["jti"],
    )


def claimed_issuer(token: str) -> str:
    """Which issuer `token` says it is of: nothing is verified, it only tells who is to verify it. TokenInvalid."""
    return str(parse(token, MAX_FOREIGN_BYTES)[1].get("iss"))


def decode_object(part: str) -> dict[str, Any]:
    """The JSON object of one part of a JWT. TokenInvalid for what is not canonical or has a member twice."""
    raw = _decode(part)
    try:
        found = json.loads(raw.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise TokenInvalid(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise TokenInvalid("not an object")
    return found


def _options() -> Any:
    """PyJWT's: it knows no clock but its own, so the times are checked by us."""
    return {
        "require": ["iss", "aud", "sub", "sid", "iat", "exp", "jti"],
        "strict_aud": True,
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
    }


def parse(token: str, max_bytes: int = MAX_BYTES) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims, unverified, read more strictly than JSON libraries do. TokenInvalid."""
    if len(token) > max_bytes:
        raise TokenInvalid(f"more than {max_bytes >> 10} KiB")
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        raise TokenInvalid("not three parts")
    _decode(parts[2])
    return decode_object(parts[0]), decode_object(parts[1])


def _check_times(payload: dict[str, Any], now: int) -> None:
    issued_at, expires = payload.get("iat"), payload.get("exp")
    if type(issued_at) is not int or type(expires) is not int:
        raise TokenInvalid("times are whole numbers")
    if "nbf" in payload:
        raise TokenInvalid("ours say no nbf")
    if not 0 < expires - issued_at <= MAX_LIFETIME_S:
        raise TokenInvalid("lives longer than any token of ours")
    if issued_at > now + LEEWAY_S:
        raise TokenInvalid("from the future")
    if expires + LEEWAY_S <= now:
        raise TokenInvalid("expired")


def _uuid(text: Any) -> UUID:
    """A UUID as we write it, and not in one of the other forms that `UUID` reads."""
    try:
        found = UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise TokenInvalid("not an id") from None
    if str(found) != text:
        raise TokenInvalid("not an id as we write it")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TokenInvalid("a member stands twice")
    return found


def _decode(part: str) -> bytes:
    """base64url without padding, and only as it is written canonically."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise TokenInvalid("not base64url") from None
    if _encode(raw) != part:
        raise TokenInvalid("not canonical base64url")
    return raw


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
