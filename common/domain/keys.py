"""API keys: made, listed, revoked. Only a digest of the secret is kept."""

from itertools import groupby
from uuid import UUID

from common.auth import api_keys
from common.auth.caller import Caller
from common.config import settings
from common.dal import keys as dal
from common.db import Connection, Row
from common.domain import paging
from common.errors import Forbidden, Invalid, NotFound
from common.schemas.base import Page, PageQuery
from common.schemas.keys import CreatedKey, CreateKey, Key, Secret


def create(conn: Connection, caller: Caller, body: CreateKey) -> CreatedKey:
    """A new key. Forbidden `scope_not_grantable` for a scope that the caller lacks."""
    scopes = sorted({scope.value for scope in body.scopes})
    refuse_ungrantable(caller, scopes)
    secret = api_keys.generate(settings().api_key_prefix)
    row = dal.insert(
        conn,
        caller.account_id,
        name=body.name,
        scopes=scopes,
        platforms=sorted(set(body.platforms)),
        expires_at=body.expires_at,
        sha256=api_keys.digest(secret),
        hint=api_keys.hint(secret),
    )
    if row is None:
        raise Invalid("A key cannot expire in the past.", errors=[{"field": "expiresAt", "message": "is past"}])
    return CreatedKey(key=secret, **row)


def refuse_ungrantable(caller: Caller, scopes: list[str]) -> None:
    """A key can never pass on what it does not have."""
    lacking = [scope for scope in scopes if scope not in caller.scopes]
    if lacking:
        raise Forbidden(f"This key lacks {', '.join(lacking)} itself.", code="scope_not_grantable")


def list_page(conn: Connection, caller: Caller, query: PageQuery) -> Page[Key]:
    """The account's keys, newest first, revoked and expired ones included."""
    rows = dal.list_page(conn, caller.account_id, paging.decode(query.cursor), query.limit + 1)
    found = [_key(list(group)) for _, group in groupby(rows, key=lambda row: row["id"])]
    items, next_cursor = paging.cut(found, query.limit)
    return Page[Key](items=items, next_cursor=next_cursor)


def revoke(conn: Connection, caller: Caller, key_id: UUID) -> None:
    """Revoke a key: it is refused on the very next request. Again is the same."""
    if not dal.revoke(conn, caller.account_id, key_id):
        raise NotFound


def _key(rows: list[Row]) -> Key:
    """A key from the rows of its secrets, newest first."""
    newest = rows[0]
    used = max((row for row in rows if row["last_used_at"]), key=lambda row: row["last_used_at"], default=None)
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
            )
        },
        last_used_at=used["last_used_at"] if used else None,
        last_used_platform=used["last_used_platform"] if used else None,
        secrets=[Secret(**(row | {"created_at": row["secret_created_at"]})) for row in rows],
    )
