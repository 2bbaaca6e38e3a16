"""Access tokens: ES256 JWTs (RFC 9068) of an hour. PyJWT and cryptography are imported on first use.

Everything that could let a token choose how it is verified is refused before PyJWT sees it: the algorithm is
ours, the key is found by `kid` in our own set, and no header may bring a key along.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

ALGORITHM, TYPE = "ES256", "at+jwt"
MAX_BYTES = 4096
LEEWAY_S = 60
MAX_LIFETIME_S = 3600


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


@lru_cache(maxsize=4)
def public_jwk(private_key_pem: str) -> dict[str, str]:
    """The public half as a JWK; its `kid` is its thumbprint (RFC 7638)."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(private_key_pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the token key is an elliptic-curve key")
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
    """A token for a session, good for `lifetime` seconds."""
    import jwt

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


def verify(token: str, jwks: dict[str, Any], issuer: str, audience: str) -> Claims:
    """What `token` says. TokenInvalid unless one of `jwks` signed it, for us, and it has not expired."""
    import jwt

    header, payload = _parsed(token)
    if set(header) != {"alg", "kid", "typ"} or header["alg"] != ALGORITHM or header["typ"] != TYPE:
        raise TokenInvalid("the header is not as ours are")
    _check_times(payload)
    key = next((key for key in jwks["keys"] if key["kid"] == header["kid"]), None)
    if key is None:
        raise TokenInvalid("signed by no key of ours")
    try:
        claims = jwt.decode(
            token,
            jwt.PyJWK(key, ALGORITHM).key,
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY_S,
            options={"require": ["iss", "aud", "sub", "sid", "iat", "exp", "jti"], "strict_aud": True},
        )
        return Claims(
            account_id=UUID(claims["sub"]),
            session_id=UUID(claims["sid"]),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
            token_id=str(claims["jti"]),
        )
    except (jwt.PyJWTError, ValueError, AttributeError, TypeError) as error:
        raise TokenInvalid(str(error)) from None


def _parsed(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims, read more strictly than JSON libraries do."""
    parts = token.split(".")
    if len(token) > MAX_BYTES or len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        raise TokenInvalid("not three parts of at most 4 KiB")
    decoded = [_decode(part) for part in parts]
    return _object(decoded[0]), _object(decoded[1])


def _check_times(payload: dict[str, Any]) -> None:
    issued_at, expires = payload.get("iat"), payload.get("exp")
    if type(issued_at) is not int or type(expires) is not int:
        raise TokenInvalid("times are whole numbers")
    if not 0 < expires - issued_at <= MAX_LIFETIME_S:
        raise TokenInvalid("lives longer than any token of ours")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise TokenInvalid(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise TokenInvalid("not an object")
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
