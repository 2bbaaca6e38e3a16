"""Webhooks: registered, listed, changed, tried, deleted. Secrets are encrypted at rest and shown once."""

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from common import db
from common.auth.caller import Caller
from common.config import settings
from common.dal import webhooks as dal
from common.db import Connection, Row
from common.domain import audit, events, paging
from common.errors import Conflict, Invalid, NotFound
from common.schemas.base import Page, PageQuery
from common.schemas.webhooks import (
    Counts,
    RegisteredWebhook,
    RegisterWebhook,
    RotatedWebhookSecret,
    RotateWebhookSecret,
    StartedTest,
    UpdateWebhook,
    Webhook,
)
from common.webhooks import secrets, signing, urls

DISABLED_BY_OWNER = "Disabled by its owner."
#: Of a webhook's pending deliveries those that end with it, about half a second's worth; the sweep ends the rest.
END_AT_ONCE = 5000
#: Rotated-out secrets that sign beside the current one, at most: a signature's header has its limits.
OLDER_SECRETS = 4


def register(conn: Connection, caller: Caller, body: RegisterWebhook) -> RegisteredWebhook:
    """A new webhook. Invalid `url_not_allowed` for an address that nothing is ever sent to."""
    _check_url(body.url)
    secret = signing.new_secret()
    row = dal.insert(
        conn,
        caller.account_id,
        url=body.url,
        events=sorted(set(body.events)),
        description=body.description,
        sealed=secrets.seal(secret, settings().webhook_secret_keys),
    )
    audit.by_caller(conn, caller, "webhook.registered", row["id"], host=_host(body.url))
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


def update(conn: Connection, caller: Caller, webhook_id: UUID, body: UpdateWebhook) -> Webhook:
    """Change a webhook. Disabling it skips what is pending, `active` sends again; a new URL gets what is pending."""
    changes = _changes(body)
    lock(conn, caller, webhook_id)
    dal.update(conn, caller.account_id, webhook_id, changes)
    if body.status == "active":
        dal.enable(conn, caller.account_id, webhook_id)
    elif body.status == "disabled":
        stop(conn, webhook_id, "disabled", DISABLED_BY_OWNER)
    if changed := sorted(body.model_fields_set):
        audit.by_caller(conn, caller, "webhook.updated", webhook_id, changed=changed, host=_host(body.url))
    return get(conn, caller, webhook_id)


def rotate_secret(
    conn: Connection, caller: Caller, webhook_id: UUID, body: RotateWebhookSecret
) -> RotatedWebhookSecret:
    """A new secret. Each older one signs beside it until its own end, at most `overlap_seconds` longer."""
    lock(conn, caller, webhook_id)
    secret = signing.new_secret()
    sealed = secrets.seal(secret, settings().webhook_secret_keys)
    row = dal.rotate_secret(conn, webhook_id, sealed, body.overlap_seconds, OLDER_SECRETS)
    audit.by_caller(conn, caller, "webhook.secret_rotated", webhook_id)
    return RotatedWebhookSecret(id=webhook_id, secret=secret, previous_valid_until=row["valid_until"])


def test(conn: Connection, caller: Caller, webhook_id: UUID) -> StartedTest:
    """Send a `webhook.test` event, also to a webhook that did not ask for them. Conflict `webhook_not_active`."""
    require_active(lock(conn, caller, webhook_id))
    data = {"webhookId": str(webhook_id), "message": "This webhook works."}
    return StartedTest(id=events.publish_to(conn, caller.account_id, webhook_id, "webhook.test", data)["id"])


def started_test(_conn: Connection, _caller: Caller, delivery_id: UUID) -> StartedTest:
    """A test as it was answered."""
    return StartedTest(id=delivery_id)


def delete(conn: Connection, caller: Caller, webhook_id: UUID) -> None:
    """Delete a webhook; what it still was to deliver is canceled."""
    lock(conn, caller, webhook_id)
    dal.delete(conn, caller.account_id, webhook_id)
    dal.end_pending(conn, webhook_id, "canceled", END_AT_ONCE)
    audit.by_caller(conn, caller, "webhook.deleted", webhook_id)


def stop(conn: Connection, webhook_id: UUID, status: str, reason: str) -> None:
    """Send nothing more to a locked webhook: `disabled` or `failing`, with the reason; its pending are skipped."""
    dal.disable(conn, webhook_id, status, reason)
    dal.end_pending(conn, webhook_id, "skipped", END_AT_ONCE)


def sweep_ending(limit: int) -> int:
    """End at most `limit` deliveries that a webhook's end left pending; how many."""
    with db.transaction() as conn:
        row = dal.lock_ending(conn)
        return dal.end_pending(conn, row["id"], row["ends_as"], limit) if row else 0


def lock(conn: Connection, caller: Caller, webhook_id: UUID) -> Row:
    """The caller's webhook, locked until the transaction ends. NotFound."""
    row = dal.lock(conn, caller.account_id, webhook_id)
    if row is None:
        raise NotFound
    return row


def require_active(row: Row) -> None:
    """Conflict `webhook_not_active` unless the webhook is."""
    if row["status"] != "active":
        raise Conflict("Nothing is sent to this webhook: enable it first.", code="webhook_not_active")


def _changes(body: UpdateWebhook) -> dict[str, Any]:
    """What is to change, ready to be stored."""
    if "url" in body.model_fields_set:
        _check_url(body.url)
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if "events" in changes:
        changes["events"] = sorted(set(body.events))
    return changes


def _host(url: str | None) -> str | None:
    """What of a URL may be written down: its path and its query may be secrets of the receiver's."""
    return urlsplit(url).hostname if url else None


def _check_url(url: str) -> None:
    try:
        urls.check_url(url, allow_local=settings().webhooks_allow_local)
    except urls.UrlNotAllowed as error:
        problem = [{"field": "url", "message": str(error)}]
        raise Invalid(f"Nothing is sent to this URL: {error}", code="url_not_allowed", errors=problem) from None


def _webhook(row: Row) -> Webhook:
    return Webhook(counts=Counts(**{name: row[name] for name in ("succeeded", "failed", "pending")}), **row)
