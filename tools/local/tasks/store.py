"""Queues, tasks and the names that were used, in one SQLite file that survives a SIGKILL."""

import json
import secrets
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.local.tasks.values import seconds, timestamp

#: How long the name of a task that is gone stays taken.
NAME_KEPT_S = 24 * 3600.0
DEFAULT_DEADLINE_S = 600.0
COLUMNS = "name, queue, body, due, created, attempts, responses, executions, first, last, previous"
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS queued_tasks (
    name TEXT PRIMARY KEY, queue TEXT NOT NULL, body TEXT NOT NULL, due REAL NOT NULL, created REAL NOT NULL,
    in_flight INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    responses INTEGER NOT NULL DEFAULT 0, executions INTEGER NOT NULL DEFAULT 0,
    first REAL, last TEXT, previous INTEGER
);
CREATE INDEX IF NOT EXISTS queued_tasks_due ON queued_tasks (queue, in_flight, due);
CREATE TABLE IF NOT EXISTS used_names (name TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_names_until ON used_names (until);
"""


@dataclass(frozen=True)
class Task:
    """A task as it is stored. Times are Unix seconds."""

    name: str
    queue: str
    body: dict[str, Any]
    due: float
    created: float
    #: How many attempts were begun, how many got an answer, how many of those were no 5xx.
    attempts: int
    responses: int
    executions: int
    first: float | None
    #: The last attempt's resource, and the HTTP status it got.
    last: dict[str, Any] | None
    previous: int | None

    @property
    def deadline_s(self) -> float:
        """Seconds that an attempt may take."""
        return seconds(self.body.get("dispatchDeadline")) or DEFAULT_DEADLINE_S

    def shown(self, *, full: bool) -> dict[str, Any]:
        """The resource; with the request's body in the full view only."""
        http = {name: value for name, value in self.body["httpRequest"].items() if full or name != "body"}
        return {
            **self.body,
            "name": self.name,
            "httpRequest": http,
            "scheduleTime": timestamp(self.due),
            "createTime": timestamp(int(self.created)),
            "dispatchDeadline": self.body.get("dispatchDeadline") or f"{DEFAULT_DEADLINE_S:g}s",
            "dispatchCount": self.attempts,
            "responseCount": self.responses,
            "view": "FULL" if full else "BASIC",
            **({"firstAttempt": {"dispatchTime": timestamp(self.first)}} if self.first else {}),
            **({"lastAttempt": self.last} if self.last else {}),
        }


class Store:
    """The file at `path`; one connection, used under its lock."""

    def __init__(self, path: Path) -> None:
        """Open it and make what is missing. What was in flight is not any more: it is sent again."""
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(SCHEMA)
        self._db.execute("UPDATE queued_tasks SET in_flight = 0 WHERE in_flight > 0")

    def queues(self) -> list[dict[str, Any]]:
        """Every queue's resource."""
        with self._lock:
            return [json.loads(body) for (body,) in self._db.execute("SELECT body FROM queues ORDER BY name")]

    def put_queue(self, body: dict[str, Any]) -> None:
        """Make or replace a queue."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO queues VALUES (?, ?)", (body["name"], json.dumps(body)))

    def remove_queue(self, name: str, now: float) -> None:
        """Delete a queue and its tasks."""
        with self._lock:
            self.purge(name, now)
            self._db.execute("DELETE FROM queues WHERE name = ?", (name,))

    def add(self, queue: str, name: str | None, body: dict[str, Any], due: float, now: float) -> Task | None:
        """A new task; None when its name is taken, or was in the last day."""
        chosen = name or f"{queue}/tasks/{secrets.randbelow(10**20)}"
        with self._lock:
            self._db.execute("DELETE FROM used_names WHERE until <= ?", (now,))
            taken = "SELECT 1 FROM queued_tasks WHERE name = ? UNION ALL SELECT 1 FROM used_names WHERE name = ?"
            if self._db.execute(taken, (chosen, chosen)).fetchone():
                return None
            self._db.execute(
                "INSERT INTO queued_tasks (name, queue, body, due, created) VALUES (?, ?, ?, ?, ?)",
                (chosen, queue, json.dumps(body), due, now),
            )
        return Task(chosen, queue, body, due, now, 0, 0, 0, None, None, None)

    def find(self, name: str) -> Task | None:
        """The task, if it is still there."""
        found = self._tasks(f"SELECT {COLUMNS} FROM queued_tasks WHERE name = ?", (name,))
        return found[0] if found else None

    def page(self, queue: str, after: str, limit: int) -> list[Task]:
        """At most `limit` tasks whose names come after `after`."""
        sql = f"SELECT {COLUMNS} FROM queued_tasks WHERE queue = ? AND name > ? ORDER BY name LIMIT ?"
        return self._tasks(sql, (queue, after, limit))

    def claim_due(self, queue: str, now: float, limit: int) -> list[Task]:
        """Begin an attempt of at most `limit` tasks whose time has come, the longest due first."""
        chosen = "SELECT name FROM queued_tasks WHERE queue = ? AND in_flight = 0 AND due <= ? ORDER BY due LIMIT ?"
        claimed = self._claim(f"name IN ({chosen})", now, (queue, now, limit))
        return sorted(claimed, key=lambda task: task.due)

    def claim(self, name: str, now: float) -> Task | None:
        """Begin an attempt of a task, even if another is in flight; None when it is gone."""
        return next(iter(self._claim("name = ?", now, (name,))), None)

    def next_due(self, queue: str) -> float | None:
        """When the next task that is not in flight is due."""
        with self._lock:
            sql = "SELECT min(due) FROM queued_tasks WHERE queue = ? AND in_flight = 0"
            due: float | None = self._db.execute(sql, (queue,)).fetchone()[0]
        return due

    def retry_at(self, name: str, due: float, status: int, last: dict[str, Any]) -> None:
        """End an attempt that failed: with `status`, 0 for no answer; `due` is when the next one is."""
        with self._lock:
            self._db.execute(
                "UPDATE queued_tasks SET in_flight = max(0, in_flight - 1), due = ?, responses = responses + ?,"
                " executions = executions + ?, last = ?, previous = coalesce(?, previous) WHERE name = ?",
                (due, int(status > 0), int(0 < status < 500), json.dumps(last), status or None, name),  # noqa: PLR2004
            )

    def remove(self, name: str, now: float) -> None:
        """Delete a task; its name stays taken for a day."""
        self._remove("name = ?", name, now)

    def purge(self, queue: str, now: float) -> None:
        """Delete every task of a queue."""
        self._remove("queue = ?", queue, now)

    def _remove(self, where: str, value: str, now: float) -> None:
        kept = f"INSERT OR REPLACE INTO used_names SELECT name, ? FROM queued_tasks WHERE {where}"
        with self._lock, self._db:
            self._db.execute("BEGIN")
            self._db.execute(kept, (now + NAME_KEPT_S, value))
            self._db.execute(f"DELETE FROM queued_tasks WHERE {where}", (value,))

    def _claim(self, where: str, now: float, values: tuple[Any, ...]) -> list[Task]:
        sql = (
            "UPDATE queued_tasks SET in_flight = in_flight + 1, attempts = attempts + 1, first = coalesce(first, ?)"
            f" WHERE {where} RETURNING {COLUMNS}"
        )
        return self._tasks(sql, (now, *values))

    def _tasks(self, sql: str, values: tuple[Any, ...]) -> list[Task]:
        with self._lock:
            return [_task(row) for row in self._db.execute(sql, values).fetchall()]


def _task(row: Any) -> Task:
    name, queue, body, due, created, attempts, responses, executions, first, last, previous = row
    known = json.loads(last) if last else None
    return Task(name, queue, json.loads(body), due, created, attempts, responses, executions, first, known, previous)
