"""When a failed delivery is tried again: exponentially later, as configured, with jitter."""

import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

JITTER = 0.2


def next_delay(
    done: int,
    retry_after: float | None,
    delays: Sequence[float],
    *,
    elapsed: float,
    jitter: float | None = None,
) -> float | None:
    """Seconds until the next attempt after `done` scheduled ones; None when there is no further one.

    An attempt by hand does not count: what follows it comes as it would have come without it.

    A receiver's `retry_after` is a floor, within the window: as long as all of `delays`, of which `elapsed` seconds
    are over. So who asks for a year each time holds a delivery for two windows at most. `jitter` (-1 to 1) is drawn
    when it is not given.
    """
    if done > len(delays):
        return None
    drawn = random.uniform(-1, 1) if jitter is None else jitter  # noqa: S311 - spreads load, guards nothing
    delay = delays[max(done, 1) - 1] * (1 + JITTER * drawn)
    return max(delay, min(retry_after or 0.0, sum(delays) - elapsed))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """`Retry-After` in seconds (RFC 9110, 10.2.3): a number or a date; None for anything else."""
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
