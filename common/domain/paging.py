"""Lists: newest first, by an opaque cursor that inserts do not move."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from common.errors import BadRequest
from common.schemas.base import Response

Item = TypeVar("Item", bound=Response)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST_MILLISECOND = 2**48 - 1


def encode(last_id: UUID) -> str:
    """The cursor of the page after the item with `last_id`."""
    return base64.urlsafe_b64encode(last_id.bytes).rstrip(b"=").decode()


def decode(cursor: str | None) -> UUID | None:
    """The id that a page starts after. BadRequest `cursor_invalid` for what `encode` never made."""
    if cursor is None:
        return None
    try:
        found = UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = None
    if found is None or encode(found) != cursor:
        raise BadRequest("This cursor did not come from a list of ours.", code="cursor_invalid")
    return found


def cut(items: Sequence[Item], limit: int) -> tuple[list[Item], str | None]:
    """Of `limit + 1` items asked for: the page's, and the cursor of the next page if there is one."""
    if len(items) <= limit:
        return list(items), None
    return list(items[:limit]), encode(items[limit - 1].id)  # type: ignore[attr-defined]


def first_id(moment: datetime, later: timedelta = timedelta()) -> UUID:
    """The smallest id (UUIDv7) that is made `later` than `moment`: what is made then or after it has none below."""
    milliseconds = (moment - _EPOCH) // _MILLISECOND + later // _MILLISECOND
    return UUID(int=min(max(milliseconds, 0), _LAST_MILLISECOND) << 80)
