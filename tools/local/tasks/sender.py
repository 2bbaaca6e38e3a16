"""Sends one request within one deadline.

Redirects are not followed: the service only says that it *may*, so nothing may rely on it.
"""

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tools.local.tasks.outgoing import Outgoing

#: No more of an answer is read; nothing is done with it.
MAX_ANSWER_BYTES = 1 << 20
#: A longer `Retry-After` counts as this; seconds.
MAX_RETRY_AFTER_S = 3600
#: gRPC's code of an HTTP status, as the service shows a failed attempt.
CODES = {
    400: (3, "INVALID_ARGUMENT"),
    401: (16, "UNAUTHENTICATED"),
    403: (7, "PERMISSION_DENIED"),
    404: (5, "NOT_FOUND"),
    409: (10, "ABORTED"),
    429: (8, "RESOURCE_EXHAUSTED"),
    499: (1, "CANCELLED"),
    500: (13, "INTERNAL"),
    501: (12, "UNIMPLEMENTED"),
    503: (14, "UNAVAILABLE"),
    504: (4, "DEADLINE_EXCEEDED"),
}
UNKNOWN = (2, "UNKNOWN")
DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE = CODES[504], CODES[500], CODES[503]


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. `status` is 0 when there was no answer; `retry_after` is in seconds."""

    status: int
    code: int = 0
    message: str = ""
    retry_after: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the target has done the task."""
        return 200 <= self.status < 300  # noqa: PLR2004


def send(request: Outgoing, deadline_s: float) -> Outcome:
    """Send `request`; whatever goes wrong is told by the outcome."""
    ends, parts = time.monotonic() + deadline_s, urlsplit(request.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    conn = kind(parts.hostname or "", parts.port, timeout=deadline_s)
    try:
        conn.connect()
        with _cut_at(ends, conn.sock):
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            conn.request(request.method, path, request.body, request.headers)
            response = conn.getresponse()
            response.read(MAX_ANSWER_BYTES)
    except TimeoutError:
        return failed(0, DEADLINE_EXCEEDED, f"no answer within {deadline_s:g} s")
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return failed(0, UNAVAILABLE, repr(error))
    finally:
        conn.close()
    if 200 <= response.status < 300:  # noqa: PLR2004
        return Outcome(response.status)
    code = CODES.get(response.status, UNKNOWN)
    problem = f"HTTP status code {response.status}"
    return failed(response.status, code, problem, response.headers.get("Retry-After", ""))


@contextmanager
def _cut_at(ends: float, sock: socket.socket) -> Iterator[None]:
    """Shut `sock` at `ends` (monotonic seconds), and raise TimeoutError then.

    A socket's own timeout begins anew with every byte, so a target that drips would never be late.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        _shut(sock)

    timer = threading.Timer(max(0.0, ends - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The peer, or the end of the attempt, was faster.
        return


def failed(status: int, code: tuple[int, str], problem: str, retry_after: str = "") -> Outcome:
    """An attempt that ended with gRPC's `code`, after the HTTP status `status` if there was one."""
    number, name = code
    wait = min(int(retry_after), MAX_RETRY_AFTER_S) if re.fullmatch(r"[0-9]{1,9}", retry_after) else 0
    return Outcome(status, number, f"{name}({number}): {problem}", float(wait))
