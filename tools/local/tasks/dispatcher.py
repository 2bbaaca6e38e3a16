"""Sends due tasks to their targets, within each queue's rate and concurrency, and retries what fails.

A task is deleted once its target has answered 2xx: whatever was in flight when this process died is sent again.
"""

import base64
import http.client
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from tools.local.identity import Issuer
from tools.local.tasks.resources import backoff, exhausted, target, timestamp
from tools.local.tasks.store import Store, Task

MAX_IDLE_S = 1.0


class Queue:
    """A queue's configuration and what it has in flight."""

    def __init__(self, body: dict[str, Any]) -> None:
        """Full of tokens."""
        self.body = body
        self.busy: set[str] = set()
        self.tokens = float(body["rateLimits"]["maxBurstSize"])
        self.refilled = time.monotonic()
        #: Unix seconds until which the target asked to be left alone.
        self.hold_until = 0.0

    def room(self) -> int:
        """How many tasks may be sent now."""
        limits, now = self.body["rateLimits"], time.monotonic()
        self.tokens = min(
            limits["maxBurstSize"], self.tokens + (now - self.refilled) * limits["maxDispatchesPerSecond"]
        )
        self.refilled = now
        if self.body["state"] != "RUNNING" or self.hold_until > time.time():
            return 0
        free: int = limits["maxConcurrentDispatches"] - len(self.busy)
        return max(0, min(int(self.tokens), free))


class Dispatcher:
    """Runs the queues of `store`."""

    def __init__(self, store: Store, issuer: Issuer) -> None:
        """Nothing is sent until `run`."""
        self.store = store
        self.queues: dict[str, Queue] = {}
        self._issuer = issuer
        self.changed = threading.Condition()

    def run(self) -> None:
        """Send what is due, for ever."""
        while True:
            with self.changed:
                for name, queue in list(self.queues.items()):
                    self._send_due(name, queue)
                self.changed.wait(self._idle_s())

    def force(self, task: Task) -> None:
        """Send a task now, whatever its time and its queue's limits."""
        threading.Thread(target=self._attempt, args=(task.name, task.queue), daemon=True).start()

    def wake(self) -> None:
        """Something changed: look again."""
        with self.changed:
            self.changed.notify()

    def _send_due(self, name: str, queue: Queue) -> None:
        for task in self.store.due(name, time.time(), queue.room(), queue.busy):
            queue.tokens -= 1
            queue.busy.add(task.name)
            threading.Thread(target=self._attempt, args=(task.name, name), daemon=True).start()

    def _idle_s(self) -> float:
        """Seconds until something may be due; never long, for rates refill and holds end."""
        times = [self.store.next_due(name) for name, queue in self.queues.items() if not queue.busy]
        due = min((moment for moment in times if moment is not None), default=None)
        return MAX_IDLE_S if due is None else min(MAX_IDLE_S, max(0.01, due - time.time()))

    def _attempt(self, name: str, queue_name: str) -> None:
        queue = self.queues[queue_name]
        try:
            task = self.store.attempt_begins(name, time.time())
            if task is not None:
                self._settle(queue, task, *self._call(queue, task))
        finally:
            with self.changed:
                queue.busy.discard(name)
                self.changed.notify()

    def _settle(self, queue: Queue, task: Task, status: int, retry_after: float, problem: str) -> None:
        now, retry = time.time(), queue.body["retryConfig"]
        if 200 <= status < 300 or exhausted(retry, task.attempts, task.first or now, now):  # noqa: PLR2004
            if problem:
                sys.stderr.write(f"{task.name} is given up: {problem}\n")
            self.store.remove(task.name, now)
            return
        if status in (429, 503) and retry_after:
            queue.hold_until = now + retry_after
        last = {"dispatchTime": timestamp(now), "responseStatus": {"code": 2, "message": problem}}
        self.store.retry_at(task, now + max(backoff(retry, task.attempts), retry_after), status, last)

    def _call(self, queue: Queue, task: Task) -> tuple[int, float, str]:
        """The target's status (0: none), its `Retry-After` in seconds, and what was wrong."""
        request = task.body["httpRequest"]
        method, url, oidc = target(queue.body, request)
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        conn = kind(parts.hostname or "", parts.port, timeout=task.deadline)
        try:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            headers = self._headers(task, request, url, oidc)
            conn.request(method, path, base64.b64decode(request.get("body", "")), headers)
            response = conn.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            kind_of = "DEADLINE_EXCEEDED" if isinstance(error, TimeoutError) else "UNAVAILABLE"
            return 0, 0.0, f"{kind_of}: {error!r}"
        finally:
            conn.close()
        after = response.headers.get("Retry-After", "")
        ok = 200 <= response.status < 300  # noqa: PLR2004
        return (
            response.status,
            float(after) if after.isdigit() else 0.0,
            "" if ok else f"HTTP {response.status}",
        )

    def _headers(self, task: Task, request: dict[str, Any], url: str, oidc: dict[str, Any] | None) -> dict[str, str]:
        headers = {
            **request.get("headers", {}),
            "User-Agent": "Google-Cloud-Tasks",
            "X-CloudTasks-QueueName": task.queue.rpartition("/")[2],
            "X-CloudTasks-TaskName": task.name.rpartition("/")[2],
            "X-CloudTasks-TaskRetryCount": str(task.attempts - 1),
            "X-CloudTasks-TaskExecutionCount": str(task.responses),
            "X-CloudTasks-TaskETA": f"{task.due:.6f}",
        }
        if task.previous:
            headers["X-CloudTasks-TaskPreviousResponse"] = task.previous
        if oidc:
            headers["Authorization"] = f"Bearer {self._issuer.mint(oidc.get('audience') or url)}"
        return headers
