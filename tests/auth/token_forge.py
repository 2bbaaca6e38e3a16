"""Makes tokens that no library would: each part as given, signed with a real key."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from common.auth import tokens

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
ISSUER, AUDIENCE = "renderiq", "renderiq-plugins"
ACCOUNT, SESSION = UUID("0190b4f0-0000-7000-8000-000000000001"), UUID("0190b4f0-0000-7000-8000-000000000002")


def derived_key(number: int) -> tuple[str, dict[str, str]]:
    """A key that is the same in each run, so that the tests' names are."""
    key = ec.derive_private_key(number, ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return pem, tokens.public_jwk(pem)


PEM, JWK = derived_key(1_000_003)
JWKS = tokens.jwks([JWK])
HEADER = {"alg": "ES256", "kid": JWK["kid"], "typ": "at+jwt"}
IAT = int(NOW.timestamp())
CLAIMS = {
    "iss": ISSUER, "aud": AUDIENCE, "sub": str(ACCOUNT), "sid": str(SESSION), "iat": IAT, "exp": IAT + 3600,
    "jti": "4cbd1bfc0f3b4d6f8f3c7d1f1a1b2c3d",
}  # fmt: skip


def encode(part: Any) -> str:
    """base64url of bytes, of text, or of the JSON of anything else."""
    raw = part if isinstance(part, bytes) else (part if isinstance(part, str) else json.dumps(part)).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signature(signed: str, pem: str = PEM, *, der: bool = False) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import utils
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    made = load_pem_private_key(pem.encode(), None).sign(signed.encode(), ec.ECDSA(SHA256()))
    r, s = utils.decode_dss_signature(made)
    return made if der else r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign(header: str, claims: str, pem: str = PEM) -> str:
    """The token of two encoded parts."""
    return f"{header}.{claims}.{encode(signature(f'{header}.{claims}', pem))}"


def forge(header: Any = HEADER, claims: Any = CLAIMS, pem: str = PEM) -> str:
    return sign(encode(header), encode(claims), pem)


def without(members: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


def verify(token: str, jwks: dict[str, Any] = JWKS, now: datetime = NOW) -> tokens.Claims:
    return tokens.verify(token, jwks, ISSUER, AUDIENCE, now)
