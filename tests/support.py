"""What tests share: a plain HTTP request and its answer."""

import http.client
import json
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

ROOT = Path(__file__).parents[1]
#: Whatever we mint looks like this: API keys, refresh tokens, webhook secrets, tokens, signed URLs.
MINTED = re.compile(
    r"rq_sk_(?:test|live)_[0-9A-Za-z]{39}|rq_rt_[0-9A-Za-z]{43}|whsec_[0-9A-Za-z+/=]{40,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}|X-Goog-Signature=[0-9a-f]{64,}"
)
passwords: set[str] = set()


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
    base_url: str,
    method: str,
    path: str,
    *,
    body: Any = None,
    raw: bytes | None = None,
    source: str = "127.0.0.1",
    **headers: str,
) -> Answer:
    """Send one request. `body` goes as JSON, `raw` as it is; headers are keyword arguments with `_` for `-`.

    `source` is the client's address: any of 127.0.0.0/8 (on Linux).
    """
    parts = urlsplit(base_url)
    conn = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60, source_address=(source, 0))
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


def exchange(
    method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of one request to Cloud Storage, as its stand-in answers."""
    parts = urlsplit(url)
    conn = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        conn.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        response = conn.getresponse()
        return response.status, response.headers, response.read()
    finally:
        conn.close()


def accounts(stack, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess:
    """Run the operator's command on the stack's database."""
    command = [sys.executable, "-m", "tools.accounts", "--data", str(stack.data), *words]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=check)


def time_of(stack):
    """The database's time."""
    return stack.sql("SELECT clock_timestamp() AS now")[0]["now"]


def let_leases_end(stack, before) -> None:
    """As if the leases taken before that time had ended, and the sweep's time had come for what was left by then.

    What has been claimed since has a later time at which the sweep looks after it.
    """
    for table in ("renders", "webhook_deliveries"):
        stack.sql(
            f"UPDATE {table} SET sweep_at = now(), lease_until = least(lease_until, now())"
            " WHERE sweep_at <= :before::timestamptz + interval '40 seconds' RETURNING 1",
            before=before,
        )


class Tenant:
    """An account of its own, made by the operator's command."""

    def __init__(self, stack, credits=50, email=""):
        self.stack, self.email = stack, email or f"{uuid4().hex}@example.com"
        words = ["create", self.email, "--name", "Tenant", "--credits", str(credits), "--generate-password"]
        made = json.loads(accounts(stack, "--json", *words).stdout)
        self.id, self.password = UUID(made["id"]), made["password"]
        passwords.add(self.password)

    def sign_in(self, **more):
        body = {"email": self.email, "password": self.password, **more}
        return request(self.stack.base_url, "POST", "/auth/signin", body=body)

    def token(self):
        return self.sign_in().json["accessToken"]

    def key(self, scopes, **fields):
        body = {"name": "a key", "scopes": scopes, **fields}
        made = request(self.stack.base_url, "POST", "/keys", body=body, **bearer(self.token()))
        assert made.status == 201, made.body
        return made.json


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def leaks(stack) -> list[str]:
    """The logs and tables of the stack that hold a secret, each with the secret's beginning."""
    logs = [*(stack.data / "logs").iterdir(), stack.data / "postgres" / "log"]
    places = {str(path): path.read_text(errors="replace") for path in logs}
    for row in stack.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        table = row["tablename"]
        content = stack.sql(f"SELECT coalesce(string_agg(t::text, ' '), '') AS content FROM {table} t")
        places[table] = content[0]["content"]
    known = re.compile("|".join(map(re.escape, {stack.password, *passwords})))
    found = [(place, find) for place, text in places.items() for find in (MINTED.search(text), known.search(text))]
    return [f"{place}: {find[0][:14]}…" for place, find in found if find]


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
