"""HTTP by the standard library: one request, and the rule for trying again."""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from renderiq_client.errors import NetworkError

TRIES = 6
MAX_PAUSE_S = 30.0
RETRIED = (408, 429, 500, 502, 503, 504)
READ_BYTES = 64 << 10


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def connect(url: str, timeout_s: float) -> http.client.HTTPConnection:
    """A connection to the host of `url`, which is http or https."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http(s) URL: {parts.scheme}://…")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=timeout_s)


def target(url: str) -> str:
    """What stands in the request line."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def send(method: str, url: str, headers: dict[str, str], body: Any = None, timeout_s: float = 60.0) -> Answer:
    """One request, once. OSError or HTTPException when there is no answer. Redirects are not followed."""
    conn = connect(url, timeout_s)
    try:
        conn.request(method, target(url), body, headers)
        response = conn.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        conn.close()


def send_retrying(method: str, url: str, headers: dict[str, str], body: Any = None, timeout_s: float = 60.0) -> Answer:
    """The same, tried again when nothing answered or the service asks for it; for requests that may be repeated."""
    problem = ""
    for pause_s in pauses():
        try:
            answer = send(method, url, headers, body, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
            time.sleep(pause_s)
            continue
        if answer.status not in RETRIED or pause_s == 0:
            return answer
        problem = f"HTTP {answer.status}"
        time.sleep(max(pause_s, retry_after(answer)))
    raise NetworkError(f"no good answer after {TRIES} tries; the last: {problem}")


def pauses() -> Iterator[float]:
    """The pauses between tries: exponential, capped, with full jitter; 0 after the last."""
    for done in range(TRIES - 1):
        yield random.uniform(0.05, min(MAX_PAUSE_S, 0.5 * 2**done))
    yield 0.0


def retry_after(answer: Answer) -> float:
    """Seconds that the service asks to wait."""
    told = answer.headers.get("Retry-After", "")
    return min(float(told), 120.0) if told.isdigit() else 0.0
