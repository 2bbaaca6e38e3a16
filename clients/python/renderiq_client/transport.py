"""HTTP by the standard library: one request, and the rule for trying again."""

from __future__ import annotations

import base64
import http.client
import json
import random
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from renderiq_client.errors import NetworkError

#: 16 s of pauses on average: what a changed network or a restarted service takes.
TRIES = 7
MAX_PAUSE_S = 30.0
#: What asks for a longer wait is an error that says so: a plugin's user would think that it hangs.
MAX_RETRY_AFTER_S = 120.0
RETRIED = (408, 429, 500, 502, 503, 504)
#: What happens to a request on its way; never what happens to a local file.
LOST = (OSError, http.client.HTTPException)


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: http.client.HTTPMessage
    #: May hold a new key or tokens, which no log of ours or of a crash reporter's should.
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Its JSON; None when it has none. ValueError when it is something else."""
        return json.loads(self.body) if self.body else None

    def problem(self) -> dict[str, Any]:
        """Its problem+json; empty when it is something else."""
        try:
            content = self.json()
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def retry_after(self) -> float:
        """Seconds that the service asks to wait (RFC 9110, 10.2.3: a number or a date); 0 when it does not."""
        told = self.headers.get("Retry-After", "").strip()
        if told.isdigit():
            return float(told)
        try:
            return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
        except (TypeError, ValueError):
            return 0.0

    def temporary(self) -> bool:
        """Whether the same request may succeed a little later."""
        if self.status == 409:
            return self.problem().get("code") == "idempotency_in_flight"
        return self.status in RETRIED and self.problem().get("code") != "engine_unavailable"


class Connection:
    """A connection to the host of a URL, opened when it is needed and kept until something goes wrong."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """`timeout_s` is how long the other side may be silent."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {parts.scheme}://…")
        if parts.scheme == "http":
            self._conn = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        else:
            self._conn = _https(parts.hostname, parts.port or 443, timeout_s)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._conn.close()

    def open(self, method: str, url: str, headers: dict[str, str], body: Any = None) -> http.client.HTTPResponse:
        """The answer, its body not yet read. Redirects are not followed."""
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            self._conn.request(method, target, body, headers)
            response = self._conn.getresponse()
            if response.length is None and not response.chunked:
                raise ConnectionError("the answer's head was cut short")  # http.client takes that for its end
            return response
        except BaseException:
            self._conn.close()
            raise

    def send(self, method: str, url: str, headers: dict[str, str], body: Any = None) -> Answer:
        """One request, once. One of LOST when there is no whole answer."""
        response = self.open(method, url, headers, body)
        try:
            return Answer(response.status, response.headers, response.read())
        except BaseException:
            self._conn.close()
            raise


def _https(host: str, port: int, timeout_s: float) -> http.client.HTTPSConnection:
    """A connection with TLS; through the proxy that the environment or the system's settings name, as offices have."""
    proxy = None if proxy_bypass(host) else getproxies().get("https")
    if not proxy:
        return http.client.HTTPSConnection(host, port, timeout=timeout_s)
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    conn = http.client.HTTPSConnection(parts.hostname or "", parts.port or 8080, timeout=timeout_s)
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    basic = {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if parts.username else {}
    conn.set_tunnel(host, port, basic)
    return conn


def send_retrying(
    method: str,
    url: str,
    headers: dict[str, str],
    body: Any = None,
    *,
    timeout_s: float,
    tries: int = TRIES,
    within_s: float = 300.0,
) -> Answer:
    """One request, tried again when nothing answered or the service asks for it; for what may be repeated.

    No try begins later than `within_s` after the first. NetworkError when no try had an answer.
    """

    def once() -> Answer:
        with Connection(url, timeout_s) as conn:
            return conn.send(method, url, headers, body)

    return retrying(once, tries, within_s)


def retrying(once: Callable[[], Answer], tries: int = TRIES, within_s: float = 300.0) -> Answer:
    """What `once` answers, tried again as long as that is temporary."""
    end = time.monotonic() + within_s
    waits = pauses(tries)
    while True:
        pause_s = next(waits, None)
        try:
            answer = once()
        except ssl.SSLCertVerificationError as error:
            raise NetworkError(f"the other side is not who it should be: {error.verify_message}") from None
        except LOST as error:
            if pause_s is None or time.monotonic() + pause_s > end:
                raise NetworkError(f"no answer: {described(error)}") from None
        else:
            if not answer.temporary() or pause_s is None:
                return answer
            pause_s = max(pause_s, answer.retry_after())
            if pause_s > MAX_RETRY_AFTER_S or time.monotonic() + pause_s > end:
                return answer
        time.sleep(pause_s)


def pauses(tries: int) -> Iterator[float]:
    """The pauses between `tries` tries: exponential, capped, with full jitter."""
    for done in range(tries - 1):
        yield random.uniform(0.05, min(MAX_PAUSE_S, 0.5 * 2**done))


def described(error: BaseException) -> str:
    """What happened, in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
