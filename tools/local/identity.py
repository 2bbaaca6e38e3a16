"""The local issuer of OIDC tokens: what Google is for Cloud Tasks, Cloud Scheduler and Cloud Run."""

import time
from typing import Any

ALGORITHM = "RS256"
ISSUER = "https://accounts.google.com"
LIFETIME_S = 3600
#: What Cloud Run puts in a verified token's place of the signature.
STRIPPED = "SIGNATURE_REMOVED_BY_GOOGLE"


class InvalidToken(Exception):
    """Not a token of ours for this audience, or no longer."""


class Issuer:
    """Issues and verifies tokens of the service account `email`."""

    def __init__(self, key_pem: str, email: str) -> None:
        """`key_pem` is an RSA private key."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        self._pem = key_pem
        self._public: Any = load_pem_private_key(key_pem.encode(), None).public_key()
        self.email = email

    def mint(self, audience: str, lifetime_s: int = LIFETIME_S) -> str:
        """A token for `audience`, with the claims that Google's have."""
        import jwt

        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "sub": "100000000000000000000",
            "email": self.email,
            "email_verified": True,
            "iat": now,
            "exp": now + lifetime_s,
        }
        return jwt.encode(claims, self._pem, ALGORITHM)

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a good token; InvalidToken otherwise."""
        import jwt

        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._public,
                algorithms=[ALGORITHM],
                audience=audience,
                issuer=ISSUER,
            )
        except jwt.PyJWTError as error:
            raise InvalidToken(str(error)) from None
        if claims.get("email") != self.email:
            raise InvalidToken("a token of another account")
        return claims

    @staticmethod
    def strip_signature(token: str) -> str:
        """`token` as Cloud Run hands it to the container."""
        return f"{token.rpartition('.')[0]}.{STRIPPED}"


def generate_key_pem() -> str:
    """A new RSA private key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key_pem: str) -> str:
    """The public half of a private key."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(key_pem.encode(), None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
