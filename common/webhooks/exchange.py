"""One request and its answer over a connection, in bounded time and memory.

http.client writes and parses, over a socket whose every read and write has what is left of the deadline. urllib3, with
the same parser below, would add pools, retries, proxies and decoding to switch off, and its timeouts are each read's,
so that a receiver that drips never runs into one.
"""

import http.client
import io
import re
import socket
import time

from common.clock import now
from common.webhooks.outcome import Deadline, Failed, Outcome
from common.webhooks.schedule import parse_retry_after

#: Of the status line and headers, interim answers' (1xx) among them.
MAX_HEAD_BYTES = 64 << 10
MAX_BODY_BYTES = 16 << 10
#: Of the headers that are kept: a hundred attempts are shown in one answer of ours.
MAX_KEPT_CHARACTERS = 8 << 10
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def post(
    outcome: Outcome,
    sock: socket.socket,
    target: str,
    headers: dict[str, str],
    body: bytes,
    deadline: Deadline,
) -> None:
    """POST `body` to the path `target`, and keep of the answer what is bounded."""
    wire = _Wire(sock, deadline)
    conn = http.client.HTTPConnection(headers["host"])
    conn.response_class = _Answer
    conn.sock = wire
    started = time.monotonic()
    conn.request("POST", target, body, headers | {"connection": "close"})
    with conn.getresponse() as response:
        outcome.timings.first_byte_ms = round(((wire.first_byte_at or started) - started) * 1000)
        outcome.status_code = response.status
        outcome.response_headers = _headers(response.headers)
        outcome.retry_after = parse_retry_after(response.headers.get("Retry-After"), now())
        wire.head_has_been_read()
        outcome.response_body = _body(response)


def _headers(received: http.client.HTTPMessage) -> dict[str, str]:
    """The headers, cut where they have more than is kept."""
    kept: dict[str, str] = {}
    room = MAX_KEPT_CHARACTERS
    for name in dict.fromkeys(map(str.lower, received)):
        value = _text(", ".join(received.get_all(name, ())))[: max(0, room - len(name))]
        room -= len(name) + len(value)
        if room < 0:
            break
        kept[name] = value
    return kept


def _text(value: str) -> str:
    """http.client reads Latin-1; receivers that send more send UTF-8."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value.encode("iso-8859-1").decode("utf-8", "replace"))


def _body(response: http.client.HTTPResponse) -> bytes:
    """The beginning of the body, undecoded. The status has been read and decides: a broken body just ends."""
    body = b""
    try:
        while len(body) < MAX_BODY_BYTES and (piece := response.read1(MAX_BODY_BYTES)):
            body += piece
    except http.client.HTTPException:
        pass
    return body[:MAX_BODY_BYTES]


class _Answer(http.client.HTTPResponse):
    """http.client skips 100 alone of the interim answers (RFC 9110, 15.2)."""

    def begin(self) -> None:
        super().begin()
        while self.status < http.HTTPStatus.OK and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # as before an answer
            super().begin()


class _Wire(io.RawIOBase):
    """A socket for http.client, within a deadline and a number of bytes.

    Both end the attempt while the head is read, and the body when that is read, as does a broken connection.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._budget = MAX_HEAD_BYTES
        self._in_body = False
        self.first_byte_at: float | None = None

    def head_has_been_read(self) -> None:
        """From now on it is the body, with its chunks' framing."""
        self._in_body, self._budget = True, 2 * MAX_BODY_BYTES

    def sendall(self, data: bytes) -> None:
        """The socket's own timeout is over all of `data`."""
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client reads the answer from."""
        return io.BufferedReader(self)

    def close(self) -> None:
        """http.client closes what it has read to the end; the socket is its opener's."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            return self._receive(buffer)
        except (Failed, OSError):
            if self._in_body:
                return 0
            raise

    def _receive(self, buffer: memoryview) -> int:
        if not self._budget:
            raise Failed("protocol", f"the answer's headers have more than {MAX_HEAD_BYTES >> 10} KiB")
        self._sock.settimeout(self._deadline.left())
        size = self._sock.recv_into(buffer, min(len(buffer), self._budget))
        self._budget -= size
        if size:
            self.first_byte_at = self.first_byte_at or time.monotonic()
        elif self.first_byte_at and not self._in_body:
            # http.client would take what there is of the head for all of it.
            raise Failed("protocol", "the answer ended within its headers")
        return size
