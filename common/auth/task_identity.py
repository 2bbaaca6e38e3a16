"""Who calls an internal task, by the OIDC token that Cloud Tasks and Cloud Scheduler send.

Cloud Run's IAM verifies the token (signature, issuer, audience, the invoker's role) before the container is called,
and hands it on with `SIGNATURE_REMOVED_BY_GOOGLE` in the signature's place, so that nobody can use it again. There is
no signature left to verify here: only claims are checked.

A token that still has a signature is refused: it has come by a way where nobody verified it. The reverse proves
nothing, for the marker is no secret and anyone can write it. What keeps a forged token out is that IAM stands in front
of every internal service; this check narrows that down to one account and one task, and never replaces it.
"""

from datetime import datetime

from common.auth import tokens

STRIPPED_SIGNATURE = "SIGNATURE_REMOVED_BY_GOOGLE"
LEEWAY_S = 60


class TaskIdentityError(Exception):
    """The caller is not our tasks account, or not for this task. The reason is for the log."""


def check(authorization: str | None, audience: str, email: str, now: datetime) -> None:
    """TaskIdentityError unless the token is one of `email` for `audience`, verified by Cloud Run, and not expired.

    `authorization` is the header's value; only safe behind IAM (see above).
    """
    scheme, _, token = (authorization or "").partition(" ")
    parts = token.strip().split(".")
    if scheme.lower() != "bearer" or len(parts) != 3 or len(token) > tokens.MAX_BYTES:  # noqa: PLR2004 - JWS parts
        raise TaskIdentityError("no token")
    if parts[2] != STRIPPED_SIGNATURE:
        raise TaskIdentityError("nobody has verified this token")
    try:
        claims = tokens.decode_object(parts[1])
    except tokens.TokenInvalid as error:
        raise TaskIdentityError(f"unreadable: {error}") from None
    told = claims.get("email"), claims.get("aud")
    if told != (email, audience) or claims.get("email_verified") is not True:
        raise TaskIdentityError(f"a token of {told[0]!r} for {told[1]!r}")
    expires = claims.get("exp")
    # JSON's `true`, `"nan"` and NaN would all pass for a time that never comes.
    if type(expires) is not int or expires + LEEWAY_S < now.timestamp():
        raise TaskIdentityError("expired, or it says no time")
