"""What a million accounts change: authentication by each kind of credential, and what a session and a key cost."""

import http.client
import json
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.auth import api_keys
from common.db import Connection
from tools.bench_calls import call, owner
from tools.bench_scale import compare, measured
from tools.local.stack import Running

MANY = 1_000_000
#: Each account with a key and its secret, a session with a refresh token, and a row of limits.
MAKE = {
    "accounts (email, name, external_subject)": """
        SELECT 'bench' || n || '@renderiq.example', 'bench', 'bench' || n FROM generate_series(1, :n::int) n""",
    "plugin_api_keys (account_id, name, scopes)": """
        SELECT id, 'bench', '{keys:read}' FROM accounts WHERE name = 'bench' LIMIT :n::int""",
    "plugin_api_key_secrets (key_id, sha256, hint)": """
        SELECT id, sha256(uuid_send(id)), '' FROM plugin_api_keys WHERE name = 'bench' LIMIT :n::int""",
    "sessions (account_id, device, network, cookie_sha256, expires_at)": """
        SELECT id, 'bench', '192.0.2.1', sha256(uuid_send(id)), now() + interval '90 days'
        FROM accounts WHERE name = 'bench' LIMIT :n::int""",
    "refresh_tokens (sha256, session_id)": """
        SELECT sha256(uuid_send(id)), id FROM sessions WHERE device = 'bench' LIMIT :n::int""",
    "rate_limits (account_id, arrivals)": """
        SELECT id, ARRAY[now(), now()] FROM accounts WHERE name = 'bench' LIMIT :n::int""",
}


def accounts(running: Running, folder: Path) -> None:
    """Each request with one account, then with a million: and how they compare."""
    work = requests(running)
    few = measured(running, work)
    started = time.monotonic()
    with closing(owner(folder)) as conn:
        fill(conn)
    print(f"\n  {MANY:,} accounts made in {time.monotonic() - started:.0f} s")
    many = measured(running, work)
    compare("1", few, f"{MANY:,}", many)


def requests(running: Running) -> dict[str, Callable[[], Any]]:
    """What is measured, by its name."""
    tokens = sign_in(running)
    bearer = {"Authorization": f"Bearer {tokens['accessToken']}"}
    cookie = {"Cookie": sign_in_by_cookie(running)}
    unknown = {"X-API-Key": api_keys.generate("rq_sk_test_")}
    new = {"name": "measured", "scopes": ["keys:read"]}

    def refused() -> None:
        with suppress(RuntimeError):
            call(running, "GET", "/projects", credential=unknown)

    def refresh() -> None:
        tokens.update(call(running, "POST", "/auth/refresh", {"refreshToken": tokens["refreshToken"]}))

    return {
        "GET /projects, by an API key": lambda: call(running, "GET", "/projects"),
        "GET /projects, by an access token": lambda: call(running, "GET", "/projects", credential=bearer),
        "GET /projects, by the dashboard's cookie": lambda: call(running, "GET", "/projects", credential=cookie),
        "GET /projects, by an unknown API key": refused,
        "GET /auth/me": lambda: call(running, "GET", "/auth/me", credential=bearer),
        "POST /auth/refresh": refresh,
        "POST /keys, then revoke": lambda: call(
            running, "DELETE", f"/keys/{call(running, 'POST', '/keys', new)['id']}"
        ),
    }


def sign_in(running: Running) -> dict[str, Any]:
    """A new session's tokens."""
    credentials = {"email": running.email, "password": running.password}
    found: dict[str, Any] = call(running, "POST", "/auth/signin", credentials)
    return found


def sign_in_by_cookie(running: Running) -> str:
    """A new session's cookie."""
    body = {"email": running.email, "password": running.password, "cookie": True}
    with closing(http.client.HTTPConnection(urlsplit(running.base_url).netloc, timeout=30)) as conn:
        conn.request("POST", "/api/plugins/auth/signin", json.dumps(body), {"Content-Type": "application/json"})
        return str(conn.getresponse().headers["Set-Cookie"]).partition(";")[0]


def fill(conn: Connection) -> None:
    """Make the accounts, not checked for what is right by construction, and analyze their tables."""
    conn.rows(
        "SELECT set_config('session_replication_role', 'replica', false), set_config('statement_timeout', '0', false)"
    )
    for target, rows in MAKE.items():
        # Each name stands above; the rows are counted there, for a million answers would be read here.
        conn.rows(f"WITH made AS (INSERT INTO {target} {rows} RETURNING 1) SELECT count(*) FROM made", n=MANY)
    for target in MAKE:
        conn.rows(f"VACUUM ANALYZE {target.partition(' ')[0]}")
    conn.rows("CHECKPOINT")
