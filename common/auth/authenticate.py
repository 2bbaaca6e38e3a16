"""From a request's headers to its caller, by the caller statement."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from uuid import UUID

from common import db, platforms
from common.auth import api_keys, failures, limits
from common.auth.caller import Caller
from common.auth.limits import Bucket
from common.config import Settings, settings
from common.dal import callers
from common.errors import BadRequest, Forbidden, Problem, Unauthenticated, UpdateRequired
from common.platforms import Detected
from common.routing import Route
from common.schemas.accounts import COOKIE
from common.schemas.base import rfc3339

_SAFE_METHODS = ("GET", "HEAD")


class Garbage(Unauthenticated):
    """A valid credential is needed."""

    # Nothing was shown, or what no checksum fits: refused before any query, and not worth one to count it.


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request shows: one of the four."""

    key_sha256: bytes | None = None
    session_id: UUID | None = None
    session_account_id: UUID | None = None
    cookie_sha256: bytes | None = None
    external_subject: str | None = None


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The caller, and the headers that tell of its limits."""

    caller: Caller
    headers: Mapping[str, str]


def authenticate(
    route: Route,
    headers: Mapping[str, str],
    cookies: Mapping[str, str],
    platform: Detected,
    *,
    user_agent: str,
    address: str,
    request_id: str,
) -> Authenticated:
    """Who calls `route`, with its limits spent. A Problem when the call is refused.

    One round trip; a second one only to count a failure against the address.
    """
    config = settings()
    try:
        credential = read(headers, cookies)
        refusal: Problem | None = update_required(platform, config) or _csrf(route, headers, credential)
        row = _identify(route, credential, platform.name, config, spend=refusal is None)
        if row is None:
            raise _unknown(credential)
        refusal = _forbidden(row, route) or refusal
    except Unauthenticated as problem:
        raise (problem if isinstance(problem, Garbage) else failures.counted(problem, address)) from None
    buckets = [
        Bucket("user", config.user_rate, row["user_full_s"]),
        Bucket("platform", config.platform_rate, row["platform_full_s"]),
    ]
    told = limits.headers(buckets) | _rotation(row)
    if refusal is None and not row["spent"]:
        refusal = limits.refusal(buckets, route.cost)
    if refusal:
        refusal.headers |= told
        raise refusal
    return Authenticated(_caller(row, platform, user_agent, address, request_id), told)


def read(headers: Mapping[str, str], cookies: Mapping[str, str]) -> Credential:
    """The one credential of a request. BadRequest for two, Unauthenticated for none or a bad one."""
    authorization, api_key = headers.get("Authorization"), headers.get("X-API-Key")
    cookie = cookies.get(COOKIE)
    sent = [*_values(authorization), *_values(api_key), *([cookie] if cookie else [])]
    if len(sent) > 1:
        raise BadRequest("Send one credential, not several.", code="multiple_credentials")
    if api_key:
        return _key(api_key)
    if cookie:
        return Credential(cookie_sha256=api_keys.digest(cookie))
    if not authorization:
        raise Garbage("Send an access token or an API key.")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send `Authorization: Bearer` and a token.", code="invalid_token")
    return _key(token) if token.startswith("rq_sk_") else _token(token)


def update_required(platform: Detected, config: Settings) -> UpdateRequired | None:
    """What to say to a plugin older than the platform's minimum version."""
    minimum = config.minimum_versions.get(platform.name)
    if not minimum or not platform.plugin_version or not platforms.below_minimum(platform.plugin_version, minimum):
        return None
    return UpdateRequired(
        f"This plugin is at {platform.plugin_version}; {minimum} or newer is needed.",
        minimum_version=minimum,
        download_url=config.download_url,
    )


def _csrf(route: Route, headers: Mapping[str, str], credential: Credential) -> Forbidden | None:
    """What to say to a cookie that a browser may have sent for another site."""
    if not credential.cookie_sha256 or route.method in _SAFE_METHODS or "X-Requested-With" in headers:
        return None
    return Forbidden("A request with the session cookie needs X-Requested-With.", code="csrf_header_required")


@cache
def jwks() -> dict[str, Any]:
    """The public keys of our access tokens, as the JWKS document."""
    keys: dict[str, Any] = json.loads(settings().require("token_jwks"))
    return keys


def _values(header: str | None) -> list[str]:
    """What a header was sent with: servers join several by commas, which no credential of ours has."""
    return [value for value in (header or "").split(",") if value.strip()]


def _key(secret: str) -> Credential:
    if not api_keys.well_formed(secret):
        raise Garbage("This is not an API key of ours.", code="invalid_key")
    return Credential(key_sha256=api_keys.digest(secret))


def _token(token: str) -> Credential:
    from common.auth import oidc, tokens

    config = settings()
    try:
        if config.oidc_issuer and tokens.claimed_issuer(token) == config.oidc_issuer:
            return Credential(external_subject=oidc.verify(token, config.oidc_issuer, config.oidc_audience))
        claims = tokens.verify(token, jwks(), config.token_issuer, config.token_audience)
    except tokens.TokenInvalid:
        raise Unauthenticated("The access token is not valid, or no longer.", code="invalid_token") from None
    return Credential(session_id=claims.session_id, session_account_id=claims.account_id)


def _identify(route: Route, credential: Credential, platform: str, config: Settings, *, spend: bool) -> db.Row | None:
    return db.pool().run(
        lambda conn: callers.identify(
            conn,
            key_sha256=credential.key_sha256,
            session_id=credential.session_id,
            session_account_id=credential.session_account_id,
            cookie_sha256=credential.cookie_sha256,
            external_subject=credential.external_subject,
            scope=route.scope,
            platform=platform,
            buckets=list(limits.BUCKETS),
            cost=route.cost,
            user_interval_s=limits.WINDOW_S / config.user_rate,
            platform_interval_s=limits.WINDOW_S / config.platform_rate,
            spend=spend,
        )
    )


def _unknown(credential: Credential) -> Unauthenticated:
    if credential.key_sha256:
        return Unauthenticated("There is no such API key.", code="invalid_key")
    if credential.external_subject:
        return Unauthenticated("No account belongs to this token's subject.", code="invalid_token")
    return Unauthenticated("The session has ended.", code="invalid_token")


def _forbidden(row: db.Row, route: Route) -> Problem | None:
    """What the statement's verdict forbids. Unauthenticated when the credential is good no longer."""
    api_key = row["kind"] == "api_key"
    match row["verdict"]:
        case "ok":
            return None
        case "session_required":
            return Forbidden("Only a signed-in person may do this.", code="session_required")
        case "insufficient_scope":
            return Forbidden(f"The key lacks the scope {route.scope}.", scope=route.scope)
        case "platform_not_allowed":
            return Forbidden("The key is bound to another platform.", code="platform_not_allowed")
        case "expired" if api_key:
            raise Unauthenticated("The API key has expired.", code="key_expired")
        case "revoked":
            raise Unauthenticated("The API key was revoked.", code="key_revoked")
        case "rotated_out":
            raise Unauthenticated(
                "This secret was rotated out and its grace is over; the key goes on with its current one.",
                code="key_expired",
            )
        case _ if api_key:
            raise Unauthenticated("The API key's account is not active.", code="invalid_key")
        case _:
            raise Unauthenticated("The session has ended.", code="invalid_token")


def _rotation(row: db.Row) -> dict[str, str]:
    """Tell whoever uses a rotated-out secret when it ends, and an ageing one by when to rotate it."""
    if row["valid_until"]:
        return {"X-Renderiq-Key-Rotated": f"grace-ends={rfc3339(row['valid_until'])}"}
    if row["rotate_by"]:
        return {"X-Renderiq-Key-Rotate-By": rfc3339(row["rotate_by"])}
    return {}


def _caller(row: db.Row, platform: Detected, user_agent: str, address: str, request_id: str) -> Caller:
    from common.auth.scopes import ALL

    return Caller(
        account_id=row["account_id"],
        kind=row["kind"],
        scopes=frozenset(row["scopes"]) if row["kind"] == "api_key" else ALL,
        email=row["email"],
        name=row["account_name"],
        key_id=row["key_id"],
        key_name=row["key_name"],
        key_platforms=frozenset(row["key_platforms"]),
        key_expires_at=row["key_expires_at"],
        session_id=row["session_id"],
        platform=replace(platform, name=row["platform"]),
        user_agent=user_agent,
        address=address,
        request_id=request_id,
    )
