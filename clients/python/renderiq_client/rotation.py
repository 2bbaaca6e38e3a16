"""An API key that rotates itself: when the service asks for it, kept in a file, whatever is lost on the way.

The service asks by `X-Renderiq-Key-Rotate-By`. A marker beside the file says that a rotation was begun and its new key
not kept yet: a lost answer, a crash. The old key is good for another week, and whoever finds the marker then asks for
the rotation again: a new key that nobody has ever shown is replaced, and the old one's grace stands.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union

from renderiq_client.errors import RenderiqError
from renderiq_client.transport import Answer

#: A week: as long as a plugin may stay closed after its new key was lost.
GRACE_S = 604_800
#: After which a marker is one that its process has left behind: longer than all tries of a call.
STALE_S = 300.0

log = logging.getLogger("renderiq_client")


class KeyFile:
    """An API key in a file of its owner's. Processes may share it: one of them rotates at a time."""

    def __init__(self, path: Union[str, Path]) -> None:
        """The file exists and holds the key, and nothing else."""
        self._path = Path(path)
        self._marker = self._path.with_name(self._path.name + ".rotating")

    def read(self) -> str:
        """The key. OSError."""
        return self._path.read_text(encoding="ascii").strip()

    def replace(self, key: str) -> None:
        """Keep `key` instead, at once or not at all; readable by its owner only."""
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self._path)

    def begun(self) -> bool:
        """Whether a rotation was begun whose key was not kept."""
        return self._marker.exists()

    def begin(self) -> bool:
        """Whether this process may rotate: nobody else is at it, or whoever was has been gone for a while."""
        return self._create_marker() or (self._put_away_stale_marker() and self._create_marker())

    def end(self) -> None:
        """The new key is kept, or there will be none."""
        self._marker.unlink(missing_ok=True)

    def _create_marker(self) -> bool:
        try:
            os.close(os.open(self._marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _put_away_stale_marker(self) -> bool:
        """Put away a marker that was left behind: by a rename, which only one process can do."""
        mine = self._marker.with_name(f"{self._marker.name}.{os.getpid()}")
        try:
            if time.time() - self._marker.stat().st_mtime < STALE_S:
                return False
            os.replace(self._marker, mine)
        except FileNotFoundError:
            return False
        mine.unlink()
        return True


class AutoRotation:
    """Rotates the key in `file` when an answer asks for it. `call` makes a call with a key and returns the JSON."""

    def __init__(self, file: KeyFile, call: Callable[[str, str, str, Any], Any]) -> None:
        """`call(key, method, path, body)`."""
        self._file = file
        self._call = call
        self._lock = threading.Lock()
        self._off = False

    def key(self) -> str:
        """The key to call with: another process may have rotated it."""
        return self._file.read()

    def heed(self, used: str, answer: Answer) -> None:
        """Do what the answer to a call with the key `used` asks for. What fails is logged, and tried again later."""
        asked = "X-Renderiq-Key-Rotate-By" in answer.headers
        lost = "X-Renderiq-Key-Rotated" in answer.headers and self._file.begun()
        if self._off or not (asked or lost) or not self._lock.acquire(blocking=False):
            return
        try:
            if self._file.read() == used and self._file.begin():
                self._rotate_if_current(used)
        except (RenderiqError, OSError) as error:
            log.warning("the API key was not rotated: %s", error)
        finally:
            self._lock.release()

    def _rotate_if_current(self, key: str) -> None:
        """Look again now that nobody else is at it: whoever was may have kept a new key meanwhile."""
        if self._file.read() == key:
            self._rotate(key)
        else:
            self._file.end()

    def _rotate(self, key: str) -> None:
        """Rotate, and keep the new key before anybody uses it."""
        try:
            key_id = self._call(key, "GET", "/auth/me", None)["credential"]["keyId"]
            rotated = self._ask(key, key_id)
        except RenderiqError as error:
            if error.status in (403, 409):
                # The key may not rotate itself, or is over: asking again would not help.
                self._off = True
                self._file.end()
            raise
        self._file.replace(rotated["key"])
        self._file.end()
        log.info("the API key was rotated; the old one ends %s", rotated["previous"]["validUntil"])

    def _ask(self, key: str, key_id: str) -> Any:
        """The new key. When an earlier try of this call got through and its answer did not, once more."""
        for last in (False, True):
            try:
                return self._call(key, "POST", f"/keys/{key_id}/rotate", {"graceSeconds": GRACE_S})
            except RenderiqError as error:
                if last or error.code != "secret_already_shown":
                    raise
        raise AssertionError("unreachable")
