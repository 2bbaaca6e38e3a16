"""Lists: newest first, by an opaque cursor that inserts do not move.

A page is a range of ids that is always bounded: an optional bound (`IS NULL OR`) in a prepared statement is no
condition that an index can use, and a page far back would read everything before it.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from common.errors import BadRequest
from common.schemas.base import Response

Item = TypeVar("Item", bound=Response)
#: Before and after every id that there is.
FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)
#: `created_at` is when the transaction began, an id's time is when it was made: they differ by less than this.
_APART_MS = 5 * 60_000


def encode(last_id: UUID) -> str:
    """The cursor of the page after the item with `last_id`."""
    return base64.urlsafe_b64encode(last_id.bytes).rstrip(b"=").decode()


def decode(cursor: str | None) -> UUID:
    """The id that a page starts after; LAST without a cursor. BadRequest `cursor_invalid` for what is none."""
    if cursor is None:
        return LAST
    try:
        found = UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = None
    if found is None or encode(found) != cursor:
        raise BadRequest("This cursor did not come from a list of ours.", code="cursor_invalid")
    return found


def id_range(cursor: str | None, since: datetime | None, until: datetime | None) -> tuple[UUID, UUID]:
    """The ids from the first, without the second, that hold everything created from `since` until `until`.

    UUIDv7 begins with its time (RFC 9562, 5.7), so a time is a place in the index of ids. A little more than asked
    for is in it: compare `created_at` as well.
    """
    start = first_id(since, -_APART_MS) if since else FIRST
    end = first_id(until, _APART_MS) if until else LAST
    return start, min(decode(cursor), end)


def first_id(moment: datetime, plus_ms: int = 0) -> UUID:
    """The least UUIDv7 of a moment and some milliseconds; FIRST or LAST for those that have none."""
    milliseconds = int(moment.timestamp() * 1000) + plus_ms
    if not 0 <= milliseconds < 2**48:
        return FIRST if milliseconds < 0 else LAST
    return UUID(int=milliseconds << 80)


def cut(items: Sequence[Item], limit: int) -> tuple[list[Item], str | None]:
    """Of `limit + 1` items asked for: the page's, and the cursor of the next page if there is one."""
    if len(items) <= limit:
        return list(items), None
    return list(items[:limit]), encode(items[limit - 1].id)  # type: ignore[attr-defined]  # what is listed has one
