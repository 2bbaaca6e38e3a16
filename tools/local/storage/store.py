"""Objects and upload sessions: metadata in one SQLite file, bytes in plain files. Survives a SIGKILL.

A file never moves: that it becomes an object, and that its session has ended, is one transaction.
"""

import base64
import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.local.storage.errors import StorageError, not_found
from tools.local.storage.model import Object, Session
from tools.local.storage.preconditions import Declared, Preconditions

BUFFER = 1 << 20
#: What a resumable session keeps of a chunk that was cut short is a multiple of this.
QUANTUM = 256 << 10
SESSION_LIFETIME_S = 7 * 86400
#: Comes after every name that begins with a prefix.
LAST = "\U0010ffff"
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY, generation INTEGER NOT NULL, size INTEGER NOT NULL, file TEXT NOT NULL,
    content_type TEXT NOT NULL, md5 TEXT NOT NULL, crc32c TEXT NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, content_type TEXT NOT NULL, preconditions TEXT NOT NULL,
    declared TEXT NOT NULL, total INTEGER, created REAL NOT NULL, signed INTEGER NOT NULL, done INTEGER,
    canceled INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


class Store:
    """One bucket's content below `folder`."""

    def __init__(self, folder: Path) -> None:
        """Open it, and make what is missing."""
        self._files = folder / "files"
        self._files.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._session_locks: dict[str, threading.Lock] = {}
        self._db = sqlite3.connect(folder / "index.sqlite", isolation_level=None, check_same_thread=False)
        self._db.executescript(SCHEMA)
        self._forget_what_is_over()

    def find(self, name: str, generation: int | None = None) -> Object:
        """The object; StorageError 404 when there is none, or not of that generation."""
        with self._lock:
            row = self._db.execute("SELECT * FROM objects WHERE name = ?", (name,)).fetchone()
        if row is None or generation not in (None, row[1]):
            raise not_found(name)
        return Object(row[0], row[1], row[2], self._files / row[3], *row[4:])

    def page(self, prefix: str, after: str, limit: int) -> list[Object]:
        """At most `limit` objects whose names start with `prefix` and come after `after`."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM objects WHERE name >= ? AND name <= ? AND name > ? ORDER BY name LIMIT ?",
                (prefix, prefix + LAST, after, limit),
            ).fetchall()
        return [Object(row[0], row[1], row[2], self._files / row[3], *row[4:]) for row in rows]

    @contextmanager
    def new_file(self) -> Iterator[Path]:
        """A file to collect an object's bytes in; it goes unless it became an object's."""
        path = self._files / secrets.token_hex(32)
        try:
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def commit(
        self,
        name: str,
        content_type: str,
        file: Path,
        preconditions: Preconditions,
        declared: Declared,
        session: Session | None = None,
    ) -> Object:
        """Make the bytes in `file` the object `name`, and end its `session`. StorageError 400, 412."""
        md5, crc32c = _digests(file)
        declared.check(md5, crc32c)
        with self._transaction():
            old = self._db.execute("SELECT generation, file FROM objects WHERE name = ?", (name,)).fetchone()
            preconditions.check(old[0] if old else 0)
            generation = max(time.time_ns() // 1000, (old[0] if old else 0) + 1)
            self._db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, generation, file.stat().st_size, file.name, content_type, md5, crc32c, time.time()),
            )
            if session:
                self._db.execute("UPDATE sessions SET done = ? WHERE id = ?", (generation, session.id))
        if old:
            (self._files / old[1]).unlink(missing_ok=True)
        return self.find(name)

    def delete(self, name: str, preconditions: Preconditions, generation: int | None = None) -> None:
        """Delete the object. StorageError 404 or 412."""
        with self._transaction():
            found = self.find(name, generation)
            preconditions.check(found.generation)
            self._db.execute("DELETE FROM objects WHERE name = ?", (name,))
        found.file.unlink(missing_ok=True)

    def begin(
        self,
        name: str,
        content_type: str,
        *,
        preconditions: Preconditions,
        declared: Declared,
        total: int | None,
        signed: bool,
    ) -> Session:
        """A new upload session. StorageError 412 when the preconditions do not hold already now."""
        found = Session(
            secrets.token_urlsafe(48), name, content_type, preconditions, declared, total, time.time(), signed
        )
        with self._transaction():
            row = self._db.execute("SELECT generation FROM objects WHERE name = ?", (name,)).fetchone()
            preconditions.check(row[0] if row else 0)
            self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", found.row())
        return found

    def session(self, session_id: str) -> Session:
        """The session. StorageError 404 for none, 410 for one that was canceled or is older than a week."""
        with self._lock:
            row = self._db.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
        if row is None:
            raise StorageError(404, "NoSuchUpload", "The upload session was not found.")
        found = Session.of(row)
        if found.canceled or time.time() > found.created + SESSION_LIFETIME_S:
            raise StorageError(410, "Gone", "The upload session has ended.")
        return found

    def session_lock(self, session_id: str) -> threading.Lock:
        """Held while a session's bytes change."""
        with self._lock:
            return self._session_locks.setdefault(session_id, threading.Lock())

    def file_of(self, session: Session) -> Path:
        """Where a session's bytes are collected."""
        return self._files / hashlib.sha256(session.id.encode()).hexdigest()

    def kept(self, session: Session, total: int | None) -> int:
        """How many bytes of a session are kept: all `total`, else whole quanta; also after a crash in a chunk."""
        file = self.file_of(session)
        size = file.stat().st_size if file.exists() else 0
        return size if size == total else size - size % QUANTUM

    def finish(self, session: Session, declared: Declared) -> Object:
        """The session's bytes become the object; a session whose bytes are refused has ended."""
        file = self.file_of(session)
        file.touch()
        declared = session.declared.merged(declared)
        try:
            return self.commit(session.name, session.content_type, file, session.preconditions, declared, session)
        except StorageError:
            self.cancel(session)
            raise

    def cancel(self, session: Session) -> None:
        """End a session and forget its bytes."""
        with self._lock:
            self._db.execute("UPDATE sessions SET canceled = 1 WHERE id = ?", (session.id,))
        self.file_of(session).unlink(missing_ok=True)

    def _forget_what_is_over(self) -> None:
        """Sessions that are too old, and the files of writes that a kill cut short."""
        self._db.execute("DELETE FROM sessions WHERE created < ?", (time.time() - SESSION_LIFETIME_S,))
        wanted = {name for (name,) in self._db.execute("SELECT file FROM objects")}
        open_sessions = self._db.execute("SELECT * FROM sessions WHERE done IS NULL AND NOT canceled")
        wanted |= {self.file_of(Session.of(row)).name for row in open_sessions}
        for file in self._files.iterdir():
            if file.name not in wanted:
                file.unlink()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def read(path: Path, start: int, length: int) -> Iterator[bytes]:
    """`length` bytes of a file from `start`, a buffer at a time."""
    with path.open("rb") as file:
        file.seek(start)
        while length > 0 and (data := file.read(min(BUFFER, length))):
            length -= len(data)
            yield data


def _digests(file: Path) -> tuple[str, str]:
    """MD5 and CRC32C in base64."""
    import google_crc32c

    checksum: Any = google_crc32c.Checksum
    md5, crc = hashlib.md5(usedforsecurity=False), checksum()
    for data in read(file, 0, file.stat().st_size):
        md5.update(data)
        crc.update(data)
    return base64.b64encode(md5.digest()).decode(), base64.b64encode(crc.digest()).decode()
