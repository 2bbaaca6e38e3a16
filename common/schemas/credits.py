"""Credits on the wire."""

from common.engines.base import Quality
from common.schemas.base import Response, Time


class Credits(Response):
    """An account's credits: `available + held + spent = granted`. `prices` by quality, a render each."""

    available: int
    held: int
    granted: int
    spent: int
    as_of: Time
    prices: dict[Quality, int]
