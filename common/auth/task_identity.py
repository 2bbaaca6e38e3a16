"""Who calls an internal task, by the OIDC token that Cloud Tasks and Cloud Scheduler send.

Cloud Run verifies the token (signature, issuer, audience, the invoker's role) before the function is called, and
replaces its signature. So only claims are checked here, and a token whose signature was *not* replaced is
refused: it has come by a way where nobody verified it.
"""

import base64
import binascii
import json
from datetime import datetime

STRIPPED_SIGNATURE = "SIGNATURE_REMOVED_BY_GOOGLE"
LEEWAY_S = 60


class TaskIdentityError(Exception):
    """The caller is not our tasks account, or not for this task."""


def check(authorization: str | None, audience: str, email: str, now: datetime) -> None:
    """TaskIdentityError unless the token is one of `email` for `audience`, verified by Cloud Run, and not expired."""
    scheme, _, token = (authorization or "").partition(" ")
    parts = token.strip().split(".")
    if scheme.lower() != "bearer" or len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        raise TaskIdentityError("no token")
    if parts[2] != STRIPPED_SIGNATURE:
        raise TaskIdentityError("nobody has verified this token")
    try:
        claims = json.loads(base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True))
        expires = float(claims["exp"])
        told = (claims["email"], claims["email_verified"], claims["aud"])
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise TaskIdentityError(f"unreadable: {error!r}") from None
    if told != (email, True, audience):
        raise TaskIdentityError(f"a token of {told[0]!r} for {told[2]!r}")
    if expires + LEEWAY_S < now.timestamp():
        raise TaskIdentityError("expired")
