"""The local issuer of OIDC tokens: what Google is for Cloud Tasks, Cloud Scheduler and Cloud Run.

PyJWT and cryptography are imported when an `Issuer` is made or a key generated.
"""

import hashlib
import time
from typing import Any

ALGORITHM = "RS256"
ISSUER = "https://accounts.google.com"
LIFETIME_S = 3600
KEY_BITS = 2048
REQUIRED_CLAIMS = ("iss", "sub", "aud", "iat", "exp", "email", "email_verified")
#: What Cloud Run puts in a verified token's place of the signature.
STRIPPED = "SIGNATURE_REMOVED_BY_GOOGLE"


class InvalidToken(Exception):
    """Not a token of ours for this audience, or no longer."""


class Issuer:
    """Issues and verifies tokens of the service account `email`."""

    def __init__(self, key_pem: str, email: str) -> None:
        """`key_pem` is an RSA private key. ValueError when it is none."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        # Loaded once: reading a PEM takes longer than signing with it.
        key = load_pem_private_key(key_pem.encode(), None)
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("the issuer's key is not an RSA key")  # noqa: TRY004 - the value is at fault
        self._private, self._public = key, key.public_key()
        self.email = email
        #: Google's `sub` is the account's number of 21 digits; ours is made of its e-mail.
        self._subject = str(10**20 + int(hashlib.sha256(email.encode()).hexdigest(), 16) % 10**20)

    def mint(self, audience: str, lifetime_s: int = LIFETIME_S) -> str:
        """A token for `audience`, with the claims that Google's have, good for `lifetime_s` seconds."""
        import jwt

        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "azp": self._subject,
            "sub": self._subject,
            "email": self.email,
            "email_verified": True,
            "iat": now,
            "exp": now + lifetime_s,
        }
        return jwt.encode(claims, self._private, ALGORITHM)

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
                options={"require": list(REQUIRED_CLAIMS)},
            )
        except jwt.PyJWTError as error:
            raise InvalidToken(str(error)) from None
        if claims["email"] != self.email or claims["email_verified"] is not True:
            raise InvalidToken("a token of another account")
        return claims

    @staticmethod
    def strip_signature(token: str) -> str:
        """`token`, once verified, as Cloud Run hands it to the container."""
        return f"{token.rpartition('.')[0]}.{STRIPPED}"


def generate_key_pem() -> str:
    """A new RSA private key, as PKCS #8 PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key_pem: str) -> str:
    """The public half of a private key, as PEM."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(key_pem.encode(), None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
