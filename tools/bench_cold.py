"""What a caller waits for when no instance is running: each function in a process of its own, as its container starts.

Beside an empty function under the same framework, which is what the framework itself takes.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tools.bench_calls import call
from tools.local.ports import free_ports
from tools.local.stack import ROOT, Running

TIMES = 5
EMPTY = "def main(request):\n    return ''\n"
API = "/api/plugins"


@dataclass(frozen=True)
class Ask:
    """A function's source and a request that it grants."""

    name: str
    source: Path
    method: str
    path: str
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)


def cold(running: Running, folder: Path) -> None:
    """The time from a process's start to its first answer, the second answer's, and the first's ratio to empty."""
    (folder / "empty").mkdir()
    (folder / "empty" / "main.py").write_text(EMPTY)
    environment = json.loads((folder / "stack" / "environment.json").read_text())
    baseline, _ = _measured(Ask("empty", folder / "empty", "GET", "/"), environment)
    print(f"\n  {'cold start':<18} {'first answer':>13} {'second':>10} {'to an empty function':>21}")
    print(f"  {'(empty)':<18} {baseline:>10.0f} ms")
    for ask in _asks(running):
        first, second = _measured(ask, environment)
        print(f"  {ask.name:<18} {first:>10.0f} ms {second:>7.1f} ms {first / baseline:>20.2f}x")


def _asks(running: Running) -> list[Ask]:
    body = {"url": "http://127.0.0.1:9/", "events": ["render.failed"]}
    hook = call(running, "POST", "/webhooks/register", body)["id"]
    picture = {"fileName": "a.png", "contentType": "image/png", "sizeBytes": 9, "purpose": "snapshot"}
    person = {"email": running.email, "password": running.password}
    key = {"X-API-Key": running.api_key}

    def ask(name: str, method: str, path: str, body: dict[str, Any] | None = None) -> Ask:
        return Ask(name, ROOT / "functions" / name, method, API + path, body, key if name != "auth_signin" else {})

    return [
        ask("health", "GET", "/health"),
        ask("credits_get", "GET", "/credits"),
        ask("keys_create", "POST", "/keys", {"name": "cold", "scopes": ["keys:read"]}),
        ask("auth_signin", "POST", "/auth/signin", person),
        ask("uploads_create", "POST", "/uploads", picture),
        ask("webhooks_test", "POST", f"/webhooks/{hook}/test"),
    ]


def _measured(ask: Ask, environment: dict[str, str]) -> tuple[float, float]:
    """Medians in milliseconds: from the start of a process to its first answer, and of the second one."""
    taken = [_started(ask, environment) for _ in range(TIMES)]
    first, second = (statistics.median(times) * 1000 for times in zip(*taken, strict=True))
    return first, second


def _started(ask: Ask, environment: dict[str, str]) -> tuple[float, float]:
    (port,) = free_ports(1)
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "FUNCTION_SOURCE": str(ask.source / "main.py"),
        "FUNCTION_TARGET": "main",
        "PORT": str(port),
        "WORKERS": "1",
    }
    begun = time.perf_counter()
    command = [sys.executable, "-m", "functions_framework"]
    with subprocess.Popen(
        command, env=environment | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while not _answered(ask, port):
                if process.poll() is not None:
                    raise RuntimeError(f"{ask.name} did not start")
                time.sleep(0.002)
            first = time.perf_counter()
            _answered(ask, port)
            return first - begun, time.perf_counter() - first
        finally:
            process.terminate()


def _answered(ask: Ask, port: int) -> bool:
    """Whether somebody listens; RuntimeError when the answer is a refusal."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = ask.headers | {"Idempotency-Key": str(uuid4()), "Content-Type": "application/json"}
    body = None if ask.body is None else json.dumps(ask.body)
    try:
        conn.request(ask.method, ask.path, body, headers)
        response = conn.getresponse()
        response.read()
    except ConnectionRefusedError:
        return False
    finally:
        conn.close()
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{ask.name} answered {response.status}")
    return True
