"""What becomes of one attempt to send a webhook."""

import time
from dataclasses import dataclass, field
from typing import Literal

ErrorClass = Literal[
    "dns",
    "address_not_allowed",
    "connect",
    "tls",
    "timeout",
    "redirect",
    "http_4xx",
    "http_5xx",
    "gone",
    "protocol",
]


@dataclass(slots=True)
class Timings:
    """How long each phase took, in milliseconds; None for a phase that did not end."""

    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None


@dataclass(slots=True)
class Outcome:
    """What became of one attempt. `retry_after` in seconds; `response_body` raw, at most 16 KiB.

    `response_headers` are cut at 8 KiB; their values hold no control characters, and those of a repeated name are
    joined by commas.
    """

    ok: bool = False
    status_code: int | None = None
    error_class: ErrorClass | None = None
    error: str | None = None
    remote_address: str | None = None
    timings: Timings = field(default_factory=Timings)
    duration_ms: int = 0
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: bytes = b""
    retry_after: float | None = None


class Failed(Exception):
    """An attempt ended before there was an answer."""

    def __init__(self, error_class: ErrorClass, error: str) -> None:
        super().__init__(error)
        self.error_class = error_class


class Deadline:
    """The one deadline of an attempt, over all its phases."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; Failed when there are none."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise Failed("timeout", "the receiver did not answer in time")
        return seconds


def ms_since(started: float) -> int:
    """Milliseconds since `started`, a time.monotonic()."""
    return round((time.monotonic() - started) * 1000)
