"""Tasks and the names that were used, in one SQLite file that survives a SIGKILL."""

import json
import secrets
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.local.tasks.resources import DEFAULT_DEADLINE_S, seconds, timestamp

#: How long the name of a task that is gone stays taken.
NAME_KEPT_S = 24 * 3600.0
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS tasks (
    name TEXT PRIMARY KEY, queue TEXT NOT NULL, body TEXT NOT NULL, due REAL NOT NULL, created REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, responses INTEGER NOT NULL DEFAULT 0, first REAL, last TEXT, previous TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tasks_due ON tasks (queue, due);
CREATE TABLE IF NOT EXISTS used_names (name TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS paused (queue TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass
class Task:
    """A task as it is stored. Times are Unix seconds."""

    name: str
    queue: str
    body: dict[str, Any]
    due: float
    created: float
    attempts: int
    responses: int
    first: float | None
    last: dict[str, Any] | None
    previous: str | None

    @property
    def deadline(self) -> float:
        """Seconds that an attempt may take."""
        return seconds(self.body.get("dispatchDeadline")) or DEFAULT_DEADLINE_S

    def shown(self, *, full: bool) -> dict[str, Any]:
        """The resource; with the request's body in the full view only."""
        http = {name: value for name, value in self.body["httpRequest"].items() if full or name != "body"}
        return {
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
        """Open it, and make what is missing."""
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(SCHEMA)

    def add(self, queue: str, name: str | None, body: dict[str, Any], due: float, now: float) -> Task | None:
        """A new task; None when its name is taken, or was in the last day."""
        chosen = name or f"{queue}/tasks/{secrets.randbelow(10**20)}"
        with self._lock:
            self._db.execute("DELETE FROM used_names WHERE until <= ?", (now,))
            taken = "SELECT 1 FROM tasks WHERE name = ? UNION ALL SELECT 1 FROM used_names WHERE name = ?"
            if self._db.execute(taken, (chosen, chosen)).fetchone():
                return None
            self._db.execute(
                "INSERT INTO tasks (name, queue, body, due, created) VALUES (?, ?, ?, ?, ?)",
                (chosen, queue, json.dumps(body), due, now),
            )
        return Task(chosen, queue, body, due, now, 0, 0, None, None, None)

    def find(self, name: str) -> Task | None:
        """The task, if it is still there."""
        return next(iter(self._tasks("WHERE name = ?", (name,))), None)

    def due(self, queue: str, now: float, limit: int, busy: set[str]) -> list[Task]:
        """At most `limit` tasks whose time has come and that are not `busy`, the oldest first."""
        found = self._tasks("WHERE queue = ? AND due <= ? ORDER BY due LIMIT ?", (queue, now, limit + len(busy)))
        return [task for task in found if task.name not in busy][:limit]

    def next_due(self, queue: str) -> float | None:
        """When the next task's time comes."""
        with self._lock:
            row = self._db.execute("SELECT min(due) FROM tasks WHERE queue = ?", (queue,)).fetchone()
        return row[0] if row else None

    def page(self, queue: str, after: str, limit: int) -> list[Task]:
        """At most `limit` tasks whose names come after `after`."""
        return self._tasks("WHERE queue = ? AND name > ? ORDER BY name LIMIT ?", (queue, after, limit))

    def attempt_begins(self, name: str, now: float) -> Task | None:
        """Count an attempt before it is made; None when the task is gone."""
        with self._lock:
            self._db.execute(
                "UPDATE tasks SET attempts = attempts + 1, first = coalesce(first, ?) WHERE name = ?",
                (now, name),
            )
        return self.find(name)

    def retry_at(self, task: Task, due: float, status: int, last: dict[str, Any]) -> None:
        """Note a failed attempt, and when the next one is."""
        answered = int(status > 0)
        with self._lock:
            self._db.execute(
                "UPDATE tasks SET due = ?, responses = responses + ?, last = ?, previous = ? WHERE name = ?",
                (due, answered, json.dumps(last), str(status) if answered else task.previous, task.name),
            )

    def remove(self, name: str, now: float) -> None:
        """Delete a task; its name stays taken for a day."""
        with self._lock:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM tasks WHERE name = ?", (name,))
            self._db.execute("INSERT OR REPLACE INTO used_names VALUES (?, ?)", (name, now + NAME_KEPT_S))
            self._db.execute("COMMIT")

    def purge(self, queue: str, now: float) -> None:
        """Delete every task of a queue."""
        for task in self._tasks("WHERE queue = ?", (queue,)):
            self.remove(task.name, now)

    def set_paused(self, queue: str, *, paused: bool) -> None:
        """Remember whether a queue is paused."""
        sql = "INSERT OR IGNORE INTO paused VALUES (?)" if paused else "DELETE FROM paused WHERE queue = ?"
        with self._lock:
            self._db.execute(sql, (queue,))

    def is_paused(self, queue: str) -> bool:
        """Whether a queue was paused."""
        with self._lock:
            return bool(self._db.execute("SELECT 1 FROM paused WHERE queue = ?", (queue,)).fetchone())

    def _tasks(self, where: str, params: tuple[Any, ...]) -> list[Task]:
        sql = "SELECT name, queue, body, due, created, attempts, responses, first, last, previous FROM tasks "
        with self._lock:
            rows = self._db.execute(sql + where, params).fetchall()
        return [_task(row) for row in rows]


def _task(row: Any) -> Task:
    name, queue, body, due, created, attempts, responses, first, last, previous = row
    known = json.loads(last) if last else None
    return Task(name, queue, json.loads(body), due, created, attempts, responses, first, known, previous)
