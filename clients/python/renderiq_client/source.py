"""The file that is uploaded: read a little at a time, and noticed when it changes meanwhile."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
from collections.abc import Iterator
from pathlib import Path

READ_BYTES = 256 << 10


class SourceChanged(Exception):
    """The file is not the one any more whose upload was begun."""


class Source:
    """A file as it was at one moment. `facts` tell whether it is still the same."""

    def __init__(self, path: Path) -> None:
        """OSError when there is no such file, or when it cannot be read."""
        self.path = path
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
        self.size = stat.st_size
        self.facts = _facts(stat)

    def content_type(self) -> str:
        """By the first bytes, as the service looks at it; else by the name. The service has the last word."""
        with self.path.open("rb") as file:
            start = file.read(12)
        if start.startswith(b"\x89PNG\r\n\x1a\n"):
            return "image/png"
        if start.startswith(b"\xff\xd8\xff"):
            return "image/jpeg"
        if start[:4] == b"RIFF" and start[8:] == b"WEBP":
            return "image/webp"
        return mimetypes.guess_type(self.path.name)[0] or "image/png"

    def md5(self) -> str:
        """In base64. One more read of the file, so that what is corrupted on the way is noticed. SourceChanged."""
        digest = hashlib.new("md5", usedforsecurity=False)
        for data in self.part(0, self.size):
            digest.update(data)
        return base64.b64encode(digest.digest()).decode()

    def part(self, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes from `start`: memory stays the same whatever the size. SourceChanged."""
        try:
            with self.path.open("rb") as file:
                if _facts(os.fstat(file.fileno())) != self.facts:
                    raise SourceChanged
                file.seek(start)
                while length > 0:
                    data = file.read(min(READ_BYTES, length))
                    if not data:
                        raise SourceChanged
                    length -= len(data)
                    yield data
        except OSError as error:
            # Not an OSError, which would be taken for one of the network's.
            raise SourceChanged(str(error)) from error


def _facts(stat: os.stat_result) -> dict[str, int]:
    return {"size": stat.st_size, "modified": stat.st_mtime_ns}
