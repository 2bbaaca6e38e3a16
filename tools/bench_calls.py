"""What the benches ask of a running stack."""

import http.client
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from common.db import Connection, connect_url
from tools.local.postgres import Postgres
from tools.local.stack import Running


def median_ms(work: Callable[[], object], times: int = 9) -> float:
    """The median of `times` runs, after some that do not count."""
    taken = []
    for _ in range(times + 2):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken[2:])


def owner(folder: Path) -> Connection:
    """The database of the stack in `folder` as its owner has it, for statements that take minutes."""
    data = folder / "stack"
    port = json.loads((data / "config.json").read_text())["ports"]["postgres"]
    conn = Connection(connect_url(Postgres(data / "postgres", port).owner_url))
    conn.set_timeout(900)
    return conn


def register(running: Running, url: str) -> str:
    """A new webhook's id."""
    return str(call(running, "POST", "/webhooks/register", {"url": url, "events": ["render.failed"]})["id"])


def publish(running: Running, hook: str) -> None:
    """One event, exactly: a request whose answer is lost is sent again with its key."""
    key = str(uuid4())
    while True:
        try:
            call(running, "POST", f"/webhooks/{hook}/test", key=key)
        except (OSError, http.client.HTTPException, RuntimeError):
            time.sleep(0.2)
        else:
            return


def counts(running: Running, hook: str) -> dict[str, int]:
    """What is known of a webhook's deliveries."""
    found: dict[str, int] = call(running, "GET", f"/webhooks/{hook}")["counts"]
    return found


def delete(running: Running, hooks: list[str]) -> None:
    """Delete webhooks."""
    for hook in hooks:
        call(running, "DELETE", f"/webhooks/{hook}")


def call(
    running: Running,
    method: str,
    path: str,
    body: Any = None,
    key: str = "",
    credential: dict[str, str] | None = None,
) -> Any:
    """The JSON of an answer; RuntimeError for a refusal. A POST has its `key`, else a new one.

    `credential` stands for the demo key.
    """
    headers = credential or {"X-API-Key": running.api_key}
    if method == "POST":
        headers = headers | {"Idempotency-Key": key or str(uuid4())}
    raw = None
    if body is not None:
        raw, headers["Content-Type"] = json.dumps(body), "application/json"
    conn = http.client.HTTPConnection(urlsplit(running.base_url).netloc, timeout=60)
    try:
        conn.request(method, f"/api/plugins{path}", raw, headers)
        response = conn.getresponse()
        answer = response.read()
    finally:
        conn.close()
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{path} answered {response.status}: {answer!r}")
    return json.loads(answer) if answer else None


def wait_until(good: Callable[[], bool], timeout_s: float = 600.0) -> None:
    """Wait for a condition. TimeoutError when it does not come."""
    end = time.monotonic() + timeout_s
    while not good():
        if time.monotonic() > end:
            raise TimeoutError("it did not happen")
        time.sleep(0.1)
