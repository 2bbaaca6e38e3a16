"""Renders as they are shown: to callers, in lists, and in events."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from common.clients import storage
from common.clock import now
from common.config import settings
from common.db import Row
from common.schemas.base import rfc3339
from common.schemas.renders import CreatedRender, File, ListedRender, Output, Render

OPEN = ("queued", "processing")
#: The share of a caller's rate limit that honest polling of all their open renders may take.
POLLING_SHARE = 0.5


def shown(row: Row) -> Render:
    """The render of `row`, its files' URLs signed, with `Retry-After` while it is not over."""
    return Render.model_validate(_signed(_plain(row))).asked_again_after(_poll_after(row))


def created(row: Row) -> CreatedRender:
    """`shown`, with the render's place."""
    render = CreatedRender.model_validate(_signed(_plain(row)))
    render.asked_again_after(_poll_after(row))
    return render


def listed(rows: list[Row]) -> list[ListedRender]:
    """The renders of `rows` in a list: no URLs but each one's thumbnail's."""
    thumbnails = [next((f["object"] for f in row["files"] or () if f["role"] == "thumbnail"), None) for row in rows]
    urls = iter(storage.read_urls([name for name in thumbnails if name]))
    return [
        ListedRender.model_validate(_plain(row) | {"thumbnail_url": next(urls).url if name else None})
        for row, name in zip(rows, thumbnails, strict=True)
    ]


def event_data(row: Row) -> dict[str, Any]:
    """The render of `row` for an event, as JSON: `shown`, but each file has its `object` in place of a URL.

    `present` signs the URLs, each time that the event is sent.
    """
    plain = _plain(row)
    data = Render.model_validate(plain | {"output": None}).wire()
    output = plain["output"]
    return data | {
        "output": output and {"files": output["files"], "availableUntil": rfc3339(output["available_until"])}
    }


def present(data: Mapping[str, Any]) -> dict[str, Any]:
    """An event's `data` as GET shows the render, its files' URLs signed now. Unavailable."""
    if not data.get("output"):
        return dict(data)
    return {**data, "output": Output.model_validate(_signed_output(data["output"])).wire()}


def present_unsigned(data: Mapping[str, Any]) -> dict[str, Any]:
    """An event's `data` as `present` will show it, for checking: its files' URLs lead nowhere."""
    if not data.get("output"):
        return dict(data)
    nowhere = {"url": "https://unsigned.invalid/", "expires_at": now()}
    files = [File.model_validate(file | nowhere) for file in data["output"]["files"]]
    return {**data, "output": Output.model_validate(data["output"] | {"files": files}).wire()}


def _plain(row: Row) -> dict[str, Any]:
    """What every view has; the output's files as they are stored."""
    return row | {
        "terminal": row["status"] not in OPEN,
        "cost": {"quoted": row["quoted"], "charged": row["charged"]},
        "output": {"files": row["files"], "available_until": _kept_until(row)} if row["files"] else None,
    }


def _kept_until(row: Row) -> datetime:
    """When the bucket's lifecycle may delete the files: it counts from a little before the render's end."""
    ended: datetime = row["completed_at"]
    return ended + timedelta(days=settings().output_days)


def _signed(plain: dict[str, Any]) -> dict[str, Any]:
    output = plain["output"]
    return plain | {"output": _signed_output(output) if output else None}


def _signed_output(output: dict[str, Any]) -> dict[str, Any]:
    stored = output["files"]
    urls = storage.read_urls([file["object"] for file in stored])
    return output | {
        "files": [
            File.model_validate(file | {"url": signed.url, "expires_at": signed.expires_at})
            for file, signed in zip(stored, urls, strict=True)
        ]
    }


def _poll_after(row: Row) -> int | None:
    """Seconds after which all the caller's open renders may be asked for without running into a limit."""
    if row["status"] not in OPEN:
        return None
    a_minute = POLLING_SHARE * min(settings().user_rate, settings().platform_rate)
    return max(1, -int(-row["open"] * 60 // a_minute))
