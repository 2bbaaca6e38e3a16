"""A resumable upload to Cloud Storage: streamed from disk, and resumed after whatever went wrong.

https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

from renderiq_client.errors import NetworkError, RenderiqError
from renderiq_client.source import Source
from renderiq_client.transport import LOST, MAX_RETRY_AFTER_S, Answer, Connection, described, pauses, send_retrying

Progress = Callable[[int, int], None]


class SessionLost(Exception):
    """The session or the signed URL has ended: a new one must be asked for."""


def begin(transfer: dict[str, Any], timeout_s: float, tries: int) -> Optional[str]:
    """A new session's URI: a secret, for who has it may write the object. None when the object is there already.

    SessionLost when the signed URL is good no longer.
    """
    headers = {**transfer["headers"], "Content-Length": "0"}
    answer = send_retrying(transfer["method"], transfer["url"], headers, timeout_s=timeout_s, tries=tries)
    place = answer.headers.get("Location")
    if answer.status == 201 and place:
        return place
    if answer.status == 412:
        return None
    if answer.status in (201, 403) or b"ExpiredToken" in answer.body:
        raise SessionLost
    raise refused(answer)


def run(
    uri: str, source: Source, kept: Optional[int], chunk_bytes: int, progress: Progress, timeout_s: float, tries: int
) -> None:
    """Send what the session lacks. `kept` is None when only the service knows how much it has.

    SessionLost, SourceChanged; NetworkError after `tries` in a row without a byte more.
    """
    waits, most = pauses(tries), -1
    with Connection(uri, timeout_s) as conn:
        while True:
            step = _step(conn, uri, source, kept, chunk_bytes)
            if step.kept is not None and step.kept > most:
                waits, most = pauses(tries), step.kept
                progress(step.kept, source.size)
            if step.done:
                return
            if step.kept is not None and (kept is None or step.kept > kept):
                kept = step.kept
                continue
            # Nothing was gained. What the service has now, only the service knows.
            kept = None
            pause_s = next(waits, None)
            if pause_s is None or step.told_s > MAX_RETRY_AFTER_S:
                raise NetworkError(f"the upload does not get through: {step.problem}")
            time.sleep(max(pause_s, step.told_s))


@dataclass
class _Step:
    """One request's outcome: the bytes kept (None: it is not known), and what went wrong."""

    kept: Optional[int]
    problem: str = ""
    told_s: float = 0.0
    done: bool = False


def _step(conn: Connection, uri: str, source: Source, kept: Optional[int], chunk_bytes: int) -> _Step:
    try:
        answer = _ask(conn, uri, source) if kept is None else _put(conn, uri, source, kept, chunk_bytes)
    except LOST as error:
        return _Step(None, described(error))
    if answer.status in (200, 201):
        return _Step(source.size, done=True)
    return _Step(_kept(answer), f"HTTP {answer.status}", answer.retry_after())


def _ask(conn: Connection, uri: str, source: Source) -> Answer:
    """How far the session has come."""
    return conn.send("PUT", uri, {"Content-Range": f"bytes */{source.size}", "Content-Length": "0"})


def _put(conn: Connection, uri: str, source: Source, start: int, chunk_bytes: int) -> Answer:
    length = min(chunk_bytes, source.size - start)
    if length <= 0:
        return _ask(conn, uri, source)
    headers = {
        "Content-Range": f"bytes {start}-{start + length - 1}/{source.size}",
        "Content-Length": str(length),
    }
    return conn.send("PUT", uri, headers, source.part(start, length))


def _kept(answer: Answer) -> Optional[int]:
    """Bytes kept so far, of a 308: no `Range` means none. None when the answer does not say."""
    if answer.status == 308:
        found = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
        return int(found[1]) + 1 if found else 0
    if answer.temporary():
        return None
    if answer.status in (404, 410, 412):
        raise SessionLost
    raise refused(answer)


def refused(answer: Answer) -> RenderiqError:
    """What Cloud Storage refused, in its own words."""
    text = answer.body.decode("utf-8", "replace")
    words = [
        found[1] for found in (re.search(f"<{name}>(.*?)</{name}>", text) for name in ("Code", "Message")) if found
    ]
    detail = ": ".join(words) or f"HTTP {answer.status}"
    return RenderiqError(answer.status, {"code": "storage_refused", "detail": f"Cloud Storage refused: {detail}"})
