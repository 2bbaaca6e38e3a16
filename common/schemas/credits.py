"""Credits on the wire."""

from typing import Literal
from uuid import UUID

from common.engines.base import Quality
from common.schemas.base import Response, Time


class Credits(Response):
    """An account's credits: `available + held + spent = granted`.

    `prices` by quality, a render each, for the engine that `auto` chooses; `engine_prices` for every engine that is
    available.
    """

    available: int
    held: int
    granted: int
    spent: int
    as_of: Time
    prices: dict[Quality, int]
    engine_prices: dict[str, dict[Quality, int]]


class Entry(Response):
    """One line of the account's book; nothing is ever changed in it.

    A render is held when it is made, then captured when it succeeds or released when it ends otherwise. `amount` is
    above 0 in each; only `grant` and `release` raise what is available, only `hold` lowers it.
    """

    id: UUID
    kind: Literal["grant", "hold", "capture", "release"]
    amount: int
    available_after: int
    render_id: UUID | None
    created_at: Time
