"""The guarded sender: one POST to somebody else's server, which may be hostile.

The name is resolved once, every address it has must be allowed, and the connection goes to a vetted address with
the name in SNI, certificate check and `Host`. No proxies, no redirects, one deadline over everything, a bounded
answer read undecoded. The standard library's http.client over a socket of our own: urllib3 would resolve again, and
its timeouts are each read's, so that a receiver that drips never runs into one.
"""

import http.client
import io
import math
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal
from urllib.parse import urlsplit

from common.clock import now
from common.webhooks.addresses import is_forbidden, is_loopback
from common.webhooks.schedule import parse_retry_after
from common.webhooks.urls import UrlNotAllowed, check_url

DEADLINE_S = 15.0
MAX_BODY_BYTES = 16 << 10
MAX_HEADER_BYTES = 64 << 10
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
Resolver = Callable[[str, int], list[str]]


@dataclass(slots=True)
class Timings:
    """How long each phase took, in milliseconds; None for a phase that was not reached."""

    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None


@dataclass(slots=True)
class Outcome:
    """What became of one attempt. `retry_after` in seconds; `response_body` raw, at most 16 KiB."""

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


class _Failed(Exception):
    """An attempt ended before there was an answer."""

    def __init__(self, error_class: ErrorClass, error: str) -> None:
        super().__init__(error)
        self.error_class = error_class


class _Deadline:
    """The one deadline of an attempt."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; _Failed when there are none."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise _Failed("timeout", "the receiver did not answer in time")
        return seconds


def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host`, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def send(
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    allow_local: bool,
    deadline_s: float = DEADLINE_S,
    resolver: Resolver = resolve,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """POST `body` to `url`; never raises for what the receiver, its name or its network does."""
    outcome, started = Outcome(), time.monotonic()
    deadline = _Deadline(deadline_s)
    try:
        check_url(url, allow_local=allow_local)
        _attempt(outcome, url, body, headers, deadline, allow_local, resolver, tls)
        _judge(outcome)
    except UrlNotAllowed as error:
        outcome.error_class, outcome.error = "address_not_allowed", f"the URL is not allowed: {error}"
    except _Failed as failed:
        outcome.error_class, outcome.error = failed.error_class, str(failed)
    except TimeoutError:
        outcome.error_class, outcome.error = "timeout", "the receiver did not answer in time"
    except (http.client.HTTPException, ValueError) as error:
        outcome.error_class, outcome.error = "protocol", f"the answer is not HTTP: {type(error).__name__}"
    except OSError as error:
        outcome.error_class, outcome.error = "connect", f"the connection broke: {error.strerror or error}"
    outcome.duration_ms = _ms(started)
    return outcome


def _attempt(
    outcome: Outcome,
    url: str,
    body: bytes,
    headers: dict[str, str],
    deadline: _Deadline,
    allow_local: bool,
    resolver: Resolver,
    tls: ssl.SSLContext | None,
) -> None:
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    addresses = _vetted(outcome, host, port, deadline, allow_local, resolver)
    sock = _connect(outcome, addresses, port, deadline)
    try:
        if secure:
            sock = _wrap(outcome, sock, host, deadline, tls or _tls())
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        _exchange(outcome, sock, target, parts.netloc, body, headers, deadline)
    finally:
        sock.close()


def _vetted(
    outcome: Outcome,
    host: str,
    port: int,
    deadline: _Deadline,
    allow_local: bool,
    resolver: Resolver,
) -> list[str]:
    """The addresses of `host`, every one of them allowed."""
    started = time.monotonic()
    addresses = _resolved(host, port, deadline, resolver)
    outcome.timings.dns_ms = _ms(started)
    refused = [a for a in addresses if is_forbidden(a) and not (allow_local and is_loopback(a))]
    if refused:
        raise _Failed("address_not_allowed", f"{host} has an address that nothing is sent to")
    return addresses


def _resolved(host: str, port: int, deadline: _Deadline, resolver: Resolver) -> list[str]:
    """By a thread of its own: the system's resolver knows no deadline."""
    answer: queue.SimpleQueue[list[str] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolver(host, port))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=deadline.left())
    except queue.Empty:
        raise _Failed("timeout", f"{host} could not be resolved in time") from None
    if isinstance(found, Exception) or not found:
        raise _Failed("dns", f"{host} could not be resolved")
    return found


def _connect(outcome: Outcome, addresses: list[str], port: int, deadline: _Deadline) -> socket.socket:
    """A connection to the first address that takes it; each gets its share of the time that is left."""
    started = time.monotonic()
    problem = "no address"
    for tried, address in enumerate(addresses):
        try:
            sock = socket.create_connection((address, port), deadline.left() / (len(addresses) - tried))
        except OSError as error:
            problem = str(error.strerror or error)
            continue
        outcome.remote_address = str(sock.getpeername()[0])
        if outcome.remote_address != address:
            sock.close()
            raise _Failed("address_not_allowed", "the connection went elsewhere than it was sent")
        outcome.timings.connect_ms = _ms(started)
        return sock
    deadline.left()
    raise _Failed("connect", f"no connection: {problem}")


def _wrap(
    outcome: Outcome, sock: socket.socket, host: str, deadline: _Deadline, context: ssl.SSLContext
) -> socket.socket:
    started = time.monotonic()
    sock.settimeout(deadline.left())
    try:
        wrapped = context.wrap_socket(sock, server_hostname=host)
    except TimeoutError:
        raise
    except OSError as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        raise _Failed("tls", f"TLS failed: {reason}") from None
    outcome.timings.tls_ms = _ms(started)
    return wrapped


def _exchange(
    outcome: Outcome,
    sock: socket.socket,
    target: str,
    host: str,
    body: bytes,
    headers: dict[str, str],
    deadline: _Deadline,
) -> None:
    """Send the request and read what of the answer is kept."""
    lines = {"host": host, "content-length": str(len(body)), "connection": "close", **headers}
    head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    started = time.monotonic()
    sock.settimeout(deadline.left())
    sock.sendall(head.encode("ascii") + b"\r\n" + body)
    response = http.client.HTTPResponse(_Timed(sock, deadline), method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        outcome.timings.first_byte_ms = _ms(started)
        outcome.status_code = response.status
        outcome.response_headers = {name.lower(): value for name, value in response.getheaders()}
        outcome.retry_after = parse_retry_after(response.headers.get("Retry-After"), now())
        outcome.response_body = _body(response)
    finally:
        response.close()


def _body(response: http.client.HTTPResponse) -> bytes:
    """At most 16 KiB, undecoded; an answer that stops short is kept as far as it came."""
    try:
        return response.read(MAX_BODY_BYTES)
    except http.client.IncompleteRead as cut:
        return cut.partial[:MAX_BODY_BYTES]
    except (_Failed, TimeoutError):
        # The status has been read, and it decides.
        return b""


class _Timed:
    """A socket for http.client whose every read has what is left of the deadline."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client reads from."""
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._budget = MAX_HEADER_BYTES + MAX_BODY_BYTES * 2

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(self._deadline.left())
        size = self._sock.recv_into(buffer)
        self._budget -= size
        if self._budget < 0:
            raise _Failed("protocol", "the answer's headers are too large")
        return size


def _judge(outcome: Outcome) -> None:
    """What the status means: only 2xx is success."""
    status = outcome.status_code or 0
    family = math.floor(status / 100)
    outcome.ok = family == 2  # noqa: PLR2004
    classes: dict[int, ErrorClass] = {3: "redirect", 4: "http_4xx", 5: "http_5xx"}
    if not outcome.ok:
        outcome.error_class = "gone" if status == http.HTTPStatus.GONE else classes.get(family, "protocol")
        outcome.error = f"the receiver answered {status}"


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
