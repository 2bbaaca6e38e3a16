"""A resumable upload to Cloud Storage: streamed from disk, and resumed after whatever went wrong."""

from __future__ import annotations

import http.client
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from renderiq_client.errors import NetworkError, RenderiqError
from renderiq_client.transport import READ_BYTES, RETRIED, TRIES, Answer, pauses, retry_after, send, send_retrying

Progress = Callable[[int, int], None]
TIMEOUT_S = 60.0


class SessionLost(Exception):
    """The session has ended: a new one must be begun."""


def begin(transfer: dict[str, Any]) -> str:
    """A new session's URI. It is a secret: who has it may write the object."""
    answer = send_retrying(transfer["method"], transfer["url"], {**transfer["headers"], "Content-Length": "0"})
    if answer.status != 201:
        raise RenderiqError(answer.status, {"code": "upload_refused", "detail": "the upload could not be begun"})
    return answer.headers["Location"]


def run(uri: str, path: Path, chunk_bytes: int, progress: Progress) -> None:
    """Send what the session lacks. SessionLost when it has ended; NetworkError when nothing gets through."""
    total = path.stat().st_size
    kept: int | None = None
    failures = 0
    waits = list(pauses())
    while True:
        try:
            answer = _ask(uri, total) if kept is None else _put(uri, path, kept, chunk_bytes, total)
            done = answer.status in (200, 201)
            if done:
                progress(total, total)
                return
            before, kept = kept, _kept(answer)
        except (OSError, http.client.HTTPException) as error:
            failures += 1
            if failures >= TRIES:
                raise NetworkError(f"the upload does not get through: {error}") from None
            kept = None  # only the service knows what has arrived
            time.sleep(waits[failures - 1])
            continue
        if kept is not None:
            progress(kept, total)
            if before is None or kept > before:
                failures = 0 if before is not None else failures
                continue
        failures += 1
        if failures >= TRIES:
            raise NetworkError(f"the upload does not get through: HTTP {answer.status}")
        time.sleep(max(waits[failures - 1], retry_after(answer)))


def _ask(uri: str, total: int) -> Answer:
    """How far the session has come."""
    return send("PUT", uri, {"Content-Range": f"bytes */{total}", "Content-Length": "0"}, timeout_s=TIMEOUT_S)


def _put(uri: str, path: Path, start: int, chunk_bytes: int, total: int) -> Answer:
    end = min(start + chunk_bytes, total)
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{total}", "Content-Length": str(end - start)}
    return send("PUT", uri, headers, _slice(path, start, end - start), TIMEOUT_S)


def _kept(answer: Answer) -> int | None:
    """Bytes kept so far, of a 308: no `Range` means none. None when the answer does not say."""
    if answer.status == 308:
        found = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", "bytes=0--1"))
        return int(found[1]) + 1 if found else 0
    if answer.status in RETRIED:
        return None
    if answer.status in (404, 410):
        raise SessionLost
    raise RenderiqError(answer.status, {"code": "upload_refused", "detail": "Cloud Storage refused the upload"})


def _slice(path: Path, start: int, length: int) -> Iterator[bytes]:
    """A part of the file, a little at a time: memory stays the same whatever its size."""
    with path.open("rb") as file:
        file.seek(start)
        while length > 0:
            data = file.read(min(READ_BYTES, length))
            if not data:
                raise OSError("the file became shorter while it was sent")
            length -= len(data)
            yield data


class State:
    """What is needed to go on after this process was killed, in a file beside the picture."""

    def __init__(self, path: Path) -> None:
        """`path` is the picture's."""
        self._file = path.with_name(path.name + ".renderiq-upload.json")
        stat = path.stat()
        self._facts = {"size": stat.st_size, "modified": stat.st_mtime_ns}

    def load(self, purpose: str) -> dict[str, str] | None:
        """`{uploadId, uri}` of an upload of the same, unchanged file; None when there is none."""
        try:
            known = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        same = known.get("purpose") == purpose and all(known.get(name) == v for name, v in self._facts.items())
        return known if same else None

    def save(self, upload_id: str, uri: str, purpose: str) -> None:
        """Readable by its owner only: the URI is a secret."""
        draft = self._file.with_name(self._file.name + ".tmp")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"uploadId": upload_id, "uri": uri, "purpose": purpose, **self._facts}, file)
        draft.replace(self._file)

    def clear(self) -> None:
        """The upload is over."""
        try:
            self._file.unlink()
        except FileNotFoundError:
            return
