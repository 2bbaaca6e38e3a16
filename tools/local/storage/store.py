"""Objects and upload sessions: metadata in one SQLite file, bytes in plain files. Survives a SIGKILL."""

import base64
import hashlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.local.storage.errors import StorageError, not_found

BUFFER = 1 << 20
#: What a resumable session keeps of a chunk that was cut short is a multiple of this.
QUANTUM = 256 << 10
SESSION_LIFETIME_S = 7 * 86400
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY, generation INTEGER NOT NULL, size INTEGER NOT NULL, file TEXT NOT NULL,
    content_type TEXT NOT NULL, md5 TEXT NOT NULL, crc32c TEXT NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, content_type TEXT NOT NULL, generation_match INTEGER, total INTEGER,
    created REAL NOT NULL, signed INTEGER NOT NULL, done INTEGER, canceled INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Object:
    """An object's metadata. `md5` and `crc32c` are base64; `created` is Unix seconds."""

    name: str
    generation: int
    size: int
    file: Path
    content_type: str
    md5: str
    crc32c: str
    created: float

    def resource(self, bucket: str) -> dict[str, Any]:
        """As the JSON API shows it."""
        moment = datetime.fromtimestamp(self.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{self.name}/{self.generation}",
            "name": self.name,
            "bucket": bucket,
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": self.content_type,
            "storageClass": "STANDARD",
            "size": str(self.size),
            "md5Hash": self.md5,
            "crc32c": self.crc32c,
            "etag": base64.b64encode(str(self.generation).encode()).decode(),
            "timeCreated": moment,
            "updated": moment,
        }


@dataclass(frozen=True)
class Session:
    """A resumable upload. `total` is None while the size is not known; `done` the generation it became."""

    id: str
    name: str
    content_type: str
    generation_match: int | None
    total: int | None
    created: float
    signed: bool
    done: int | None
    canceled: bool


class Store:
    """One bucket's content below `folder`."""

    def __init__(self, folder: Path) -> None:
        """Open it, and make what is missing."""
        self._objects, self._parts = folder / "objects", folder / "parts"
        for path in (self._objects, self._parts):
            path.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._session_locks: dict[str, threading.Lock] = {}
        self._db = sqlite3.connect(folder / "index.sqlite", isolation_level=None, check_same_thread=False)
        self._db.executescript(SCHEMA)

    def find(self, name: str, generation: int | None = None) -> Object:
        """The object; StorageError 404 when there is none, or not of that generation."""
        with self._lock:
            row = self._db.execute("SELECT * FROM objects WHERE name = ?", (name,)).fetchone()
        if row is None or generation not in (None, row[1]):
            raise not_found(name)
        return Object(row[0], row[1], row[2], self._objects / row[3], *row[4:])

    def page(self, prefix: str, after: str, limit: int) -> list[Object]:
        """At most `limit` objects whose names start with `prefix` and come after `after`."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM objects WHERE substr(name, 1, ?) = ? AND name > ? ORDER BY name LIMIT ?",
                (len(prefix), prefix, after, limit),
            ).fetchall()
        return [Object(row[0], row[1], row[2], self._objects / row[3], *row[4:]) for row in rows]

    def new_part(self) -> Path:
        """A file to collect an object's bytes in."""
        return self._parts / secrets.token_hex(16)

    def commit(self, name: str, content_type: str, part: Path, generation_match: int | None) -> Object:
        """Make the bytes in `part` the object `name`. StorageError 412 when its generation is not the one wanted."""
        import google_crc32c

        checksum: Any = google_crc32c.Checksum
        md5, crc, size = hashlib.md5(usedforsecurity=False), checksum(), 0
        for data in read(part, 0, part.stat().st_size):
            md5.update(data)
            crc.update(data)
            size += len(data)
        file = secrets.token_hex(16)
        with self._lock:
            old = self._db.execute("SELECT generation, file FROM objects WHERE name = ?", (name,)).fetchone()
            _check_generation(old[0] if old else 0, generation_match)
            generation = max(time.time_ns() // 1000, (old[0] if old else 0) + 1)
            part.rename(self._objects / file)
            digests = (base64.b64encode(md5.digest()).decode(), base64.b64encode(crc.digest()).decode())
            self._db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, generation, size, file, content_type, *digests, time.time()),
            )
            if old:
                (self._objects / old[1]).unlink(missing_ok=True)
        return self.find(name)

    def delete(self, name: str, generation_match: int | None) -> None:
        """Delete the object. StorageError 404 or 412."""
        with self._lock:
            found = self.find(name)
            _check_generation(found.generation, generation_match)
            self._db.execute("DELETE FROM objects WHERE name = ?", (name,))
            found.file.unlink(missing_ok=True)

    def begin(
        self, name: str, content_type: str, *, generation_match: int | None, total: int | None, signed: bool
    ) -> Session:
        """A new upload session. StorageError 412 when the object's generation is not the one wanted already now."""
        with self._lock:
            row = self._db.execute("SELECT generation FROM objects WHERE name = ?", (name,)).fetchone()
            _check_generation(row[0] if row else 0, generation_match)
            found = Session(
                secrets.token_urlsafe(48),
                name,
                content_type,
                generation_match,
                total,
                time.time(),
                signed,
                None,
                False,
            )
            self._db.execute(
                "INSERT INTO sessions (id, name, content_type, generation_match, total, created, signed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (found.id, name, content_type, generation_match, total, found.created, signed),
            )
        return found

    def session(self, session_id: str) -> Session:
        """The session. StorageError 404 for none, 410 for one that was canceled or is older than a week."""
        with self._lock:
            row = self._db.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
        if row is None:
            raise StorageError(404, "NoSuchUpload", "The upload session was not found.")
        found = _session(row)
        if found.canceled or time.time() > found.created + SESSION_LIFETIME_S:
            raise StorageError(410, "Gone", "The upload session has ended.")
        return found

    def session_lock(self, session_id: str) -> threading.Lock:
        """Held while a session's bytes change."""
        with self._lock:
            return self._session_locks.setdefault(session_id, threading.Lock())

    def part(self, session: Session) -> Path:
        """Where a session's bytes are collected."""
        return self._parts / hashlib.sha256(session.id.encode()).hexdigest()

    def kept(self, session: Session) -> int:
        """How many bytes of a session are kept: whole quanta, also after a crash in the middle of a chunk."""
        part = self.part(session)
        size = part.stat().st_size if part.exists() else 0
        return size if size == session.total else size - size % QUANTUM

    def finish(self, session: Session) -> Object:
        """The session's bytes become the object."""
        part = self.part(session)
        part.touch()
        found = self.commit(session.name, session.content_type, part, session.generation_match)
        with self._lock:
            self._db.execute("UPDATE sessions SET done = ? WHERE id = ?", (found.generation, session.id))
        return found

    def cancel(self, session: Session) -> None:
        """End a session and forget its bytes."""
        with self._lock:
            self._db.execute("UPDATE sessions SET canceled = 1 WHERE id = ?", (session.id,))
        self.part(session).unlink(missing_ok=True)


def read(path: Path, start: int, length: int) -> Iterator[bytes]:
    """`length` bytes of a file from `start`, a buffer at a time."""
    with path.open("rb") as file:
        file.seek(start)
        while length > 0 and (data := file.read(min(BUFFER, length))):
            length -= len(data)
            yield data


def _check_generation(present: int, wanted: int | None) -> None:
    """`wanted` 0 means that there must be no object."""
    if wanted is not None and wanted != present:
        raise StorageError(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")


def as_json(value: dict[str, Any]) -> bytes:
    """A resource's bytes."""
    return json.dumps(value).encode()


def _session(row: Any) -> Session:
    session_id, name, content_type, generation_match, total, created, signed, done, canceled = row
    return Session(session_id, name, content_type, generation_match, total, created, bool(signed), done, bool(canceled))
