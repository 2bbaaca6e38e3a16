"""API keys: made, rotated, listed, revoked. Only a digest of the secret is kept."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

from common.auth import api_keys
from common.auth.caller import Caller
from common.config import settings
from common.dal import keys as dal
from common.db import Connection, Row
from common.domain import audit, paging
from common.errors import Conflict, Forbidden, Invalid, NotFound
from common.schemas.base import Page, PageQuery, rfc3339
from common.schemas.keys import CreatedKey, CreateKey, Key, PreviousSecret, RotatedKey, RotateKey, Secret


def create(conn: Connection, caller: Caller, body: CreateKey) -> CreatedKey:
    """A new key. Forbidden for one that may do more, on another platform or for longer than the caller."""
    scopes = sorted({scope.value for scope in body.scopes})
    platforms: list[str] = sorted(set(body.platforms))
    refuse_ungrantable(caller, scopes, platforms, body.expires_at)
    secret = api_keys.generate(settings().api_key_prefix)
    row = dal.insert(
        conn,
        caller.account_id,
        name=body.name,
        scopes=scopes,
        platforms=platforms,
        expires_at=body.expires_at,
        max_age_days=body.max_age_days,
        sha256=api_keys.digest(secret),
        hint=api_keys.hint(secret),
    )
    if row is None:
        raise Invalid("A key cannot expire in the past.", errors=[{"field": "expiresAt", "message": "is past"}])
    audit.by_caller(conn, caller, "key.created", row["id"], name=body.name, scopes=scopes, hint=row["hint"])
    return CreatedKey(key=secret, **row)


def rotate(conn: Connection, caller: Caller, key_id: UUID, body: RotateKey) -> RotatedKey:
    """A new secret for a key; the old one is good for the grace, and no longer than it was before.

    Conflict `key_not_rotatable` for a key that is over; Forbidden for one that the caller could not make. An older
    grace ends at once, unless nobody ever showed the current secret: its answer was lost, it is replaced and the grace
    stands.
    """
    row = dal.lock(conn, caller.account_id, key_id)
    if row is None:
        raise NotFound
    refuse_ungrantable(caller, row["scopes"], row["platforms"], row["expires_at"])
    if not row["live"]:
        raise Conflict("The key has expired or was revoked; create another one.", code="key_not_rotatable")
    secret = api_keys.generate(settings().api_key_prefix)
    hint = api_keys.hint(secret)
    previous = dal.rotate(conn, key_id, grace_s=body.grace_seconds, sha256=api_keys.digest(secret), hint=hint)
    audit.by_caller(conn, caller, "key.rotated", key_id, hint=hint, previous=previous["hint"])
    return RotatedKey(id=key_id, key=secret, hint=hint, previous=PreviousSecret.model_validate(previous))


def refuse_ungrantable(
    caller: Caller, scopes: Sequence[str], platforms: Sequence[str], expires_at: datetime | None
) -> None:
    """A key can never pass on what it does not have: a scope, another platform, a longer life."""
    lacking = [scope for scope in scopes if scope not in caller.scopes]
    if lacking:
        raise Forbidden(f"This key lacks {', '.join(lacking)} itself.", code="scope_not_grantable")
    bound = caller.key_platforms
    if bound and not (platforms and bound.issuperset(platforms)):
        named = ", ".join(sorted(bound))
        raise Forbidden(f"This key is bound to {named}, and so must the other one be.", code="platform_not_allowed")
    if caller.key_expires_at and not (expires_at and expires_at <= caller.key_expires_at):
        end = rfc3339(caller.key_expires_at)
        raise Forbidden(f"This key expires at {end}; the other one must, too.", code="scope_not_grantable")


def list_page(conn: Connection, caller: Caller, query: PageQuery) -> Page[Key]:
    """The account's keys, newest first, revoked and expired ones included."""
    rows = dal.list_page(conn, caller.account_id, paging.decode(query.cursor), query.limit + 1)
    found = [_key(list(group)) for _, group in groupby(rows, key=lambda row: row["id"])]
    items, next_cursor = paging.cut(found, query.limit)
    return Page[Key](items=items, next_cursor=next_cursor)


def revoke(conn: Connection, caller: Caller, key_id: UUID) -> None:
    """Revoke a key: it is refused on the very next request. Again is the same."""
    row = dal.revoke(conn, caller.account_id, key_id)
    if row is None:
        raise NotFound
    if row["first"]:
        audit.by_caller(conn, caller, "key.revoked", key_id)


def _key(rows: list[Row]) -> Key:
    """A key from the rows of its secrets, newest first."""
    newest = rows[0]
    return Key(
        **{
            name: newest[name]
            for name in (
                "id",
                "name",
                "hint",
                "scopes",
                "platforms",
                "created_at",
                "expires_at",
                "revoked_at",
                "max_age_days",
            )
        },
        last_used_at=newest["used_at"],
        last_used_platform=newest["used_platform"],
        secrets=[Secret(**(row | {"created_at": row["secret_created_at"]})) for row in rows],
    )
