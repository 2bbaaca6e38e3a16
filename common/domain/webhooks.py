"""Webhooks: registered, listed, deleted. The secret is encrypted at rest and shown once."""

from uuid import UUID

from common.auth.caller import Caller
from common.config import settings
from common.dal import webhooks as dal
from common.db import Connection, Row
from common.domain import paging
from common.errors import Invalid, NotFound
from common.schemas.base import Page, PageQuery
from common.schemas.webhooks import Counts, RegisteredWebhook, RegisterWebhook, Webhook
from common.webhooks import secrets, signing, urls


def register(conn: Connection, caller: Caller, body: RegisterWebhook) -> RegisteredWebhook:
    """A new webhook. Invalid `url_not_allowed` for an address that nothing is ever sent to."""
    config = settings()
    try:
        urls.check_url(body.url, allow_local=config.webhooks_allow_local)
    except urls.UrlNotAllowed as error:
        problem = [{"field": "url", "message": str(error)}]
        raise Invalid(f"Nothing is sent to this URL: {error}", code="url_not_allowed", errors=problem) from None
    secret = signing.new_secret()
    row = dal.insert(
        conn,
        caller.account_id,
        url=body.url,
        events=sorted(set(body.events)),
        description=body.description,
        secret=secrets.seal(secret, config.webhook_secret_keys),
    )
    return RegisteredWebhook(secret=secret, **row)


def get(conn: Connection, caller: Caller, webhook_id: UUID) -> Webhook:
    """One webhook."""
    row = dal.find(conn, caller.account_id, webhook_id)
    if row is None:
        raise NotFound
    return _webhook(row)


def list_page(conn: Connection, caller: Caller, query: PageQuery) -> Page[Webhook]:
    """The account's webhooks, newest first."""
    rows = dal.list_page(conn, caller.account_id, paging.decode(query.cursor), query.limit + 1)
    items, next_cursor = paging.cut([_webhook(row) for row in rows], query.limit)
    return Page[Webhook](items=items, next_cursor=next_cursor)


def delete(conn: Connection, caller: Caller, webhook_id: UUID) -> None:
    """Delete a webhook; what it still was to deliver is canceled."""
    if not dal.delete(conn, caller.account_id, webhook_id):
        raise NotFound


def _webhook(row: Row) -> Webhook:
    return Webhook(counts=Counts(**{name: row[name] for name in ("succeeded", "failed", "pending")}), **row)
