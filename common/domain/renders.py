"""Renders: made, shown and ended. Listed in `render_lists`; their work itself is in `render_task`."""

import secrets
from dataclasses import asdict
from functools import partial
from typing import Any, Literal
from uuid import UUID

from common import db, engines, log
from common.auth.caller import Caller
from common.clients import tasks
from common.dal import credits as credits_dal
from common.dal import render_work
from common.dal import renders as dal
from common.db import Connection, Row
from common.domain import events, render_views
from common.domain.prices import PRICES
from common.engines import Engine, EngineError
from common.errors import Conflict, Invalid, NotFound, PaymentRequired, Unavailable
from common.schemas.renders import MAX_SEED, CreatedRender, CreateRender, Render

EVENTS = {
    "succeeded": "render.completed",
    "failed": "render.failed",
    "expired": "render.failed",
    "canceled": "render.canceled",
}
_EXPIRED = {
    "code": "expired",
    "message": "The render was not started within an hour.",
    "retryable": True,
}

present = render_views.present


def create(conn: Connection, caller: Caller, body: CreateRender) -> CreatedRender:
    """A new render and the hold of its price, in the transaction of `conn`; its task after the commit.

    Invalid (`upload_not_ready`, `callback_not_registered`), Unavailable `engine_unavailable`, and
    PaymentRequired, with `required` and `available`; then nothing is made and nothing held.
    """
    engine = _chosen(body.engine)
    _check(conn, caller, body)
    price = PRICES[engine.info.name][body.quality]
    row = dal.insert_held(
        conn,
        account_id=caller.account_id,
        key_id=caller.key_id,
        project_id=body.project_id,
        upload_id=body.upload_id,
        depth_upload_id=body.depth_upload_id,
        normal_upload_id=body.normal_upload_id,
        prompt=body.prompt,
        style=body.style,
        quality=body.quality,
        geometry_fidelity=body.geometry_fidelity,
        seed=secrets.randbelow(MAX_SEED + 1) if body.seed is None else body.seed,
        engine=asdict(engine.info),
        quoted=price,
        metadata=_telemetry(caller, body),
    )
    if row is None:
        available = credits_dal.get_balance(conn, caller.account_id)["available"]
        raise PaymentRequired(
            f"This render costs {price} credits, {available} are available.",
            required=price,
            available=available,
        )
    enqueue(conn, row)
    return render_views.created(row)


def get(conn: Connection, caller: Caller, render_id: UUID) -> Render:
    """The caller's render. NotFound."""
    return render_views.shown(_find(conn, caller, render_id))


def get_created(conn: Connection, caller: Caller, render_id: UUID) -> CreatedRender:
    """The caller's render as `create` answers it. NotFound."""
    return render_views.created(_find(conn, caller, render_id))


def cancel(conn: Connection, caller: Caller, render_id: UUID) -> Render:
    """The caller's render, canceled and not charged. NotFound; Conflict `render_already_finished`.

    Its worker, if it has one, sees that between two stages, and drops what it made.
    """
    row = end(conn, {"id": render_id, "account_id": caller.account_id, "attempt": None}, "canceled")
    if row is None:
        status = _find(conn, caller, render_id)["status"]
        raise Conflict(f"The render is over: it is {status}.", code="render_already_finished")
    return render_views.shown(row)


def end(
    conn: Connection,
    render: Row,
    status: Literal["succeeded", "failed", "canceled", "expired"],
    *,
    files: list[dict[str, Any]] | None = None,
    error: dict[str, Any] | None = None,
) -> Row | None:
    """End `render` (its `id`, `account_id` and `attempt`), settle its credits and publish its event.

    All in the transaction of `conn`. Returns the ended render, or None, with nothing done, when it is over
    already or another attempt has begun; an `attempt` of None is whichever is at work. `files` as `renders.files`
    stores them, `error` as it stores that.
    """
    row = render_work.end(
        conn,
        render_id=render["id"],
        account_id=render["account_id"],
        attempt=render["attempt"],
        status=status,
        files=files,
        error=error,
    )
    if row is None:
        return None
    events.publish(conn, row["account_id"], EVENTS[status], render_views.event_data(row))
    conn.after_commit(
        lambda: log.event(
            "render_ended",
            renderId=row["id"],
            accountId=row["account_id"],
            status=status,
            attempt=row["attempt"],
            code=error and error["code"],
        )
    )
    return row


def enqueue(conn: Connection, row: Row) -> None:
    """Have `row` taken up after the commit, at its `due_at` if it has one."""
    conn.after_commit(lambda: tasks.enqueue_render(row["id"], row["attempt"], row["generation"], at=row.get("due_at")))


def sweep_due(limit: int) -> int:
    """Enqueue again at most `limit` renders that nobody looked after in time; how many."""
    with db.transaction() as conn:
        rows = render_work.sweep(conn, limit)
        for row in rows:
            enqueue(conn, row)
    return len(rows)


def expire_overdue(limit: int) -> int:
    """Expire at most `limit` renders that were not started within an hour; how many."""
    with db.reading() as conn:
        overdue = render_work.list_overdue(conn, limit)
    return sum(db.in_transaction(partial(expire_one, render_id=render_id)) for render_id in overdue)


def expire_one(conn: Connection, render_id: UUID) -> bool:
    """Expire the render if it was not started within an hour; whether that was so."""
    row = render_work.lock_overdue(conn, render_id)
    return row is not None and end(conn, row, "expired", error=_EXPIRED) is not None


def _find(conn: Connection, caller: Caller, render_id: UUID) -> Row:
    row = dal.find(conn, caller.account_id, render_id)
    if row is None:
        raise NotFound("There is no such render.")
    return row


def _chosen(wanted: str) -> Engine:
    try:
        return engines.choose(wanted)
    except EngineError as error:
        raise Unavailable(error.message, code=error.code) from error


def _check(conn: Connection, caller: Caller, body: CreateRender) -> None:
    """What the render refers to is the caller's own and usable; else the first problem is raised."""
    usable = dal.check(
        conn,
        caller.account_id,
        upload_id=body.upload_id,
        depth_upload_id=body.depth_upload_id,
        normal_upload_id=body.normal_upload_id,
        project_id=body.project_id,
        callback_url=body.callback_url,
    )
    uploads = {
        "upload_id": ("uploadId", "snapshot"),
        "depth_upload_id": ("depthUploadId", "depth"),
        "normal_upload_id": ("normalUploadId", "normal"),
    }
    errors = [
        {"field": field, "message": f"is not a ready upload for the purpose {purpose}"}
        for column, (field, purpose) in uploads.items()
        if not usable[column]
    ]
    if errors:
        raise Invalid("An upload is not ready.", code="upload_not_ready", errors=errors)
    if not usable["project_id"]:
        errors = [{"field": "projectId", "message": "is not a project of yours"}]
        raise Invalid("There is no such project.", errors=errors)
    if not usable["callback_url"]:
        raise Invalid("None of your active webhooks has this URL.", code="callback_not_registered")


def _telemetry(caller: Caller, body: CreateRender) -> dict[str, Any]:
    """Where a render comes from, as `renders.metadata` keeps it."""
    return {
        "sourcePlatform": caller.platform.name,
        "pluginVersion": caller.platform.plugin_version,
        "userAgent": caller.user_agent,
        "callbackUrl": body.callback_url,
    }
