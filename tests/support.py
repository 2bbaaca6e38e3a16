"""What tests share: a plain HTTP request and its answer."""

import http.client
import json
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
