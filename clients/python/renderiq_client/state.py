"""What is needed to go on with an upload after this process was killed, in a file beside the picture."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

log = logging.getLogger("renderiq_client")

MAX_BYTES = 64 << 10
FAR = 1 << 30


class State:
    """A small JSON object that only its owner may read, for it holds a session URI, which is a secret.

    One process at a time has the file. Another that uploads the same picture meanwhile, or one that may not write
    here, has a state that lasts as long as itself: both uploads end well, and only one can be resumed.
    """

    def __init__(self, picture: Path) -> None:
        """`picture` is the file that is uploaded."""
        self._path = picture.with_name(picture.name + ".renderiq-upload.json")
        self._handle: Optional[int] = None
        self.known: dict[str, Any] = {}

    def __enter__(self) -> State:
        """Take the file, when it is free, and read it."""
        self._handle = _take(self._path)
        if self._handle is not None:
            self.known = _read(self._handle)
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Give the file back; it is removed when there is nothing to go on with."""
        if self._handle is None:
            return
        os.close(self._handle)
        self._handle = None
        if not self.known:
            self._path.unlink(missing_ok=True)

    def save(self, **known: Any) -> None:
        """Remember `known`, and nothing else. A kill in the middle leaves no state: the upload is begun again."""
        self.known = known
        if self._handle is None:
            return
        try:
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, json.dumps(known).encode())
        except OSError as error:
            log.warning("after a crash this upload begins again: its state cannot be kept: %s", error)

    def forget(self) -> None:
        """There is nothing to go on with."""
        self.save()


def _take(path: Path) -> Optional[int]:
    """The open and locked file; None when another process has it, or when it is not ours to write."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags, 0o600)
    except OSError:
        return None
    if _is_private(handle) and _lock(handle):
        return handle
    os.close(handle)
    return None


def _is_private(handle: int) -> bool:
    """Whether nobody else wrote it: a stranger's state would send the picture to a stranger's session."""
    found = os.fstat(handle)
    mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return mine and stat.S_ISREG(found.st_mode) and (os.name == "nt" or not found.st_mode & 0o077)


def _lock(handle: int) -> bool:
    """Whether this open file now has the lock; it ends with the process, however that ends."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(handle, FAR, os.SEEK_SET)  # Windows locks bytes: one that nobody reads
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]  # Windows only
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(handle: int) -> dict[str, Any]:
    """What was saved; nothing when that was cut short."""
    try:
        known = json.loads(os.read(handle, MAX_BYTES))
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
