"""Downloading a file of a render: resumed where it stopped, verified, and there all at once or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from renderiq_client.errors import NetworkError, RenderiqError
from renderiq_client.resumable import Progress, refused
from renderiq_client.transport import Answer, Connection, retrying

READ_BYTES = 256 << 10


class DiskError(Exception):
    """The draft cannot be written; not an OSError, which would be taken for one of the network's."""


class Download:
    """`file` (with `url`, `sha256` and `bytes`) to `path`.

    The draft beside it is named after the content that it must get: whoever else writes to it writes the same.
    """

    def __init__(self, file: dict[str, Any], path: Path, progress: Progress, timeout_s: float, tries: int) -> None:
        """Nothing is asked yet."""
        self._url, self._sha256, self._total = file["url"], file["sha256"], file["bytes"]
        self._path, self._progress, self._timeout_s, self._tries = path, progress, timeout_s, tries
        self._draft = path.with_name(f".{path.name}.{self._sha256[:16]}.part")

    def run(self) -> None:
        """Fetch it. RenderiqError `url_expired` when the render must be asked for again; OSError of the disk."""
        for _ in range(2):
            with self._open() as out:
                answer = self._fetch(out)
                whole = answer.status in (200, 206, 416) and _sha256(out) == self._sha256
            if whole:
                self._put_in_place()
                return
            self._draft.unlink(missing_ok=True)
            if answer.status not in (200, 206, 416):
                raise _refused(answer)
        raise NetworkError("the file that arrives is not the one that was rendered; is there a proxy on the way?")

    def _open(self) -> BinaryIO:
        return os.fdopen(os.open(self._draft, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")

    def _fetch(self, out: BinaryIO) -> Answer:
        try:
            return retrying(lambda: self._fetch_rest(out), self._tries)
        except DiskError as error:
            raise error.__cause__ or error

    def _fetch_rest(self, out: BinaryIO) -> Answer:
        """Append what the draft lacks. The key is not sent: the URL is signed, and its host is not the API's."""
        have = out.seek(0, os.SEEK_END)
        headers = {"Range": f"bytes={have}-"} if have else {}
        with Connection(self._url, self._timeout_s) as conn:
            response = conn.open("GET", self._url, headers)
            answer = Answer(response.status, response.headers, b"")
            if response.status not in (200, 206):
                answer.body = response.read()
                return answer
            have = out.seek(have if response.status == 206 else 0)
            while data := response.read(min(READ_BYTES, self._total - have)):
                have += len(data)
                _write(out, data)
                self._progress(have, self._total)
        if have < self._total:
            raise ConnectionError(f"it ended after {have} of {self._total} bytes")
        return answer

    def _put_in_place(self) -> None:
        try:
            self._draft.replace(self._path)
        except FileNotFoundError:
            # Another process fetched the same file and was first.
            if not self._path.exists():
                raise


def _write(out: BinaryIO, data: bytes) -> None:
    try:
        out.write(data)
        out.flush()
    except OSError as error:
        raise DiskError from error


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while data := file.read(READ_BYTES):
        digest.update(data)
    return digest.hexdigest()


def _refused(answer: Answer) -> RenderiqError:
    if answer.status in (400, 403, 404):
        detail = "The file's URL is good no longer; ask for the render again to get a fresh one."
        return RenderiqError(answer.status, {"code": "url_expired", "detail": detail})
    return refused(answer)
