"""The guarded sender: one POST to somebody else's server, which may be hostile.

The name is resolved once, every address it has must be allowed, and the connection goes to a vetted address with
the name in SNI, certificate check and `Host`. No proxies, no redirects, one deadline over everything, a bounded
answer read undecoded.
"""

import http.client
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from common.webhooks import connection, exchange
from common.webhooks.outcome import Deadline, ErrorClass, Failed, Outcome, ms_since
from common.webhooks.urls import UrlNotAllowed, check_url

if TYPE_CHECKING:
    from dns.resolver import Resolver

__all__ = ["DEADLINE_S", "Outcome", "send"]

DEADLINE_S = 15.0


def send(
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    allow_local: bool,
    deadline_s: float = DEADLINE_S,
    resolver: "Resolver | None" = None,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """POST `body` to `url`; never raises for what the receiver, its name or its network does.

    `resolver` and `tls` (see connection.tls_context) are the system's when they are not given.
    """
    outcome, started = Outcome(), time.monotonic()
    try:
        _attempt(outcome, url, body, headers, Deadline(deadline_s), allow_local, resolver, tls)
        _judge(outcome, outcome.status_code or 0)
    except (UrlNotAllowed, Failed, OSError, http.client.HTTPException) as error:
        outcome.error_class, outcome.error = _told(error)
    outcome.duration_ms = ms_since(started)
    return outcome


def _attempt(
    outcome: Outcome,
    url: str,
    body: bytes,
    headers: dict[str, str],
    deadline: Deadline,
    allow_local: bool,
    resolver: "Resolver | None",
    tls: ssl.SSLContext | None,
) -> None:
    check_url(url, allow_local=allow_local)
    parts = urlsplit(url)
    host, https = parts.hostname or "", parts.scheme == "https"
    default_port = 443 if https else 80
    port = parts.port or default_port
    sock = connection.open_(outcome, host, port, deadline, allow_local=allow_local, resolver=resolver)
    try:
        if https:
            sock = connection.secure(outcome, sock, host, deadline, tls or connection.tls_context())
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port != default_port else "")
        exchange.post(outcome, sock, target, {**headers, "host": authority}, body, deadline)
    finally:
        sock.close()


def _judge(outcome: Outcome, status: int) -> None:
    """What the status means: only 2xx is success."""
    outcome.ok = 200 <= status < 300  # noqa: PLR2004
    if not outcome.ok:
        classes: dict[int, ErrorClass] = {3: "redirect", 4: "http_4xx", 5: "http_5xx"}
        outcome.error_class = "gone" if status == http.HTTPStatus.GONE else classes.get(status // 100, "protocol")
        outcome.error = f"the receiver answered {status}"


def _told(error: Exception) -> tuple[ErrorClass, str]:
    """An error's class and its words for the webhook's owner."""
    match error:
        case UrlNotAllowed():
            return "address_not_allowed", f"the URL is not allowed: {error}"
        case Failed():
            return error.error_class, str(error)
        case TimeoutError():
            return "timeout", "the receiver did not answer in time"
        case ssl.SSLError():
            return "tls", f"TLS failed: {error.reason or error}"
        case OSError():
            # http.client's RemoteDisconnected is one too.
            return "connect", f"the connection broke: {error.strerror or error}"
    return "protocol", f"the answer is not HTTP: {type(error).__name__}"
