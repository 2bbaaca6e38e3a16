"""What tests share: a plain HTTP request and its answer."""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The problem's code; None for an answer that is no problem."""
        if self.headers.get_content_type() != "application/problem+json":
            return None
        return self.json["code"]


def request(
    base_url: str, method: str, path: str, *, body: Any = None, raw: bytes | None = None, **headers: str
) -> Answer:
    """Send one request. `body` goes as JSON, `raw` as it is; headers are keyword arguments with `_` for `-`."""
    parts = urlsplit(base_url)
    conn = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        raw = json.dumps(body).encode()
    if raw is not None:
        sent.setdefault("Content-Type", "application/json")
    try:
        conn.request(method, path if path.startswith(("/api", "/.", "/internal")) else "/api/plugins" + path, raw, sent)
        response = conn.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        conn.close()


def send(base_url, method, target, headers=(), body=b"") -> Answer:
    """One request, byte by byte as it is given; `headers` are lines."""
    parts = urlsplit(base_url)
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: localhost", b"Connection: close", *headers]
    if body and not any(line.lower().startswith((b"content-length", b"transfer-encoding")) for line in headers):
        lines.append(b"Content-Length: %d" % len(body))
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as conn:
        conn.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        with http.client.HTTPResponse(conn, method=method) as response:
            response.begin()
            return Answer(response.status, response.headers, response.read())
