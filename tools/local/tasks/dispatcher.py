"""Sends due tasks to their targets, within each queue's rate and concurrency, and retries what fails.

A task is deleted once its target has answered 2xx: whatever was in flight when this process died is sent again.
"""

import math
import sys
import threading
import time
from typing import Any

from tools.local.identity import Issuer
from tools.local.tasks.outgoing import outgoing
from tools.local.tasks.queues import backoff, exhausted
from tools.local.tasks.sender import INTERNAL, Outcome, failed, send
from tools.local.tasks.store import Store, Task
from tools.local.tasks.values import timestamp

#: The clock may be set while nothing happens: look at least this often.
MAX_IDLE_S = 5.0
#: A token that is a rounding error short of whole is no reason to spin.
MIN_IDLE_S = 0.001
#: The statuses with which a target asks for the whole queue to slow down.
SLOW_DOWN = (429, 503)


class Queue:
    """A queue's configuration, its token bucket and how much it has in flight."""

    def __init__(self, body: dict[str, Any]) -> None:
        """Full of tokens."""
        self.body = body
        self.busy = 0
        self._tokens = float(body["rateLimits"]["maxBurstSize"])
        self._refilled = time.monotonic()
        #: Monotonic seconds until which the target asked to be left alone.
        self._held_until = 0.0

    def room(self) -> int:
        """How many tasks may be sent now."""
        limits, now = self.body["rateLimits"], time.monotonic()
        refilled = self._tokens + (now - self._refilled) * limits["maxDispatchesPerSecond"]
        self._tokens, self._refilled = min(limits["maxBurstSize"], refilled), now
        if self.body["state"] != "RUNNING" or now < self._held_until:
            return 0
        free: int = limits["maxConcurrentDispatches"] - self.busy
        return max(0, min(int(self._tokens), free))

    def take(self, count: int) -> None:
        """`count` tasks are sent."""
        self._tokens -= count
        self.busy += count

    def hold(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._held_until = time.monotonic() + seconds

    def idle_s(self, due_in: float) -> float:
        """Seconds until a task may be sent, the next being due in `due_in`; infinite: not before something changes."""
        limits = self.body["rateLimits"]
        if self.body["state"] != "RUNNING" or self.busy >= limits["maxConcurrentDispatches"]:
            return math.inf
        held = self._held_until - time.monotonic()
        token: float = (1 - self._tokens) / limits["maxDispatchesPerSecond"]
        return max(MIN_IDLE_S, due_in, held, token)


class Dispatcher:
    """Runs the queues of `store`. Everything about `queues` is read and changed under `changed`."""

    def __init__(self, store: Store, issuer: Issuer) -> None:
        """Nothing is sent until `run`."""
        self.store = store
        self.issuer = issuer
        self.changed = threading.Condition()
        self.queues = {body["name"]: Queue(body) for body in store.queues()}

    def put_queue(self, body: dict[str, Any]) -> None:
        """Make or replace a queue; what it has in flight stays so."""
        with self.changed:
            self.store.put_queue(body)
            known = self.queues.setdefault(body["name"], Queue(body))
            known.body = body
            self.changed.notify()

    def remove_queue(self, name: str) -> None:
        """Delete a queue and its tasks."""
        with self.changed:
            self.store.remove_queue(name, time.time())
            self.queues.pop(name, None)

    def wake(self) -> None:
        """A task was added: look again."""
        with self.changed:
            self.changed.notify()

    def run(self) -> None:
        """Send what is due, for ever."""
        with self.changed:
            while True:
                idle = [self._send_due(name, queue) for name, queue in self.queues.items()]
                self.changed.wait(min([MAX_IDLE_S, *idle]))

    def force(self, name: str) -> Task | None:
        """Send a task now, whatever its time, its queue's state and limits; None when it is gone."""
        with self.changed:
            task = self.store.claim(name, time.time())
            if task is not None:
                queue = self.queues[task.queue]
                queue.busy += 1
                self._start(queue, task)
        return task

    def _send_due(self, name: str, queue: Queue) -> float:
        """Send what may be sent; seconds until there may be more."""
        room = queue.room()
        due = self.store.claim_due(name, time.time(), room) if room else []
        queue.take(len(due))
        for task in due:
            self._start(queue, task)
        following = self.store.next_due(name)
        return math.inf if following is None else queue.idle_s(following - time.time())

    def _start(self, queue: Queue, task: Task) -> None:
        threading.Thread(target=self._attempt, args=(queue, task, time.time()), daemon=True).start()

    def _attempt(self, queue: Queue, task: Task, began: float) -> None:
        try:
            self._settle(queue, task, began, self._send(queue, task))
        finally:
            with self.changed:
                queue.busy -= 1
                self.changed.notify()

    def _send(self, queue: Queue, task: Task) -> Outcome:
        try:
            return send(outgoing(queue.body, task, self.issuer.mint), task.deadline_s)
        except Exception as error:  # noqa: BLE001 - what cannot be sent has failed, else it would be in flight for ever
            return failed(0, INTERNAL, f"it could not be sent: {error!r}")

    def _settle(self, queue: Queue, task: Task, began: float, outcome: Outcome) -> None:
        now, retry = time.time(), task.body.get("retryConfig") or queue.body["retryConfig"]
        if outcome.succeeded:
            self.store.remove(task.name, now)
        elif exhausted(retry, task.attempts, task.first or began, now):
            sys.stderr.write(f"{task.name} is given up after {task.attempts} attempts: {outcome.message}\n")
            self.store.remove(task.name, now)
        else:
            if outcome.status in SLOW_DOWN and outcome.retry_after:
                with self.changed:
                    queue.hold(outcome.retry_after)
            due = now + max(backoff(retry, task.attempts), outcome.retry_after)
            self.store.retry_at(task.name, due, outcome.status, _last(task, began, now, outcome))


def _last(task: Task, began: float, now: float, outcome: Outcome) -> dict[str, Any]:
    """An attempt's resource."""
    attempt: dict[str, Any] = {"scheduleTime": timestamp(task.due), "dispatchTime": timestamp(began)}
    if outcome.status:
        attempt["responseTime"] = timestamp(now)
    return attempt | {"responseStatus": {"code": outcome.code, "message": outcome.message}}
