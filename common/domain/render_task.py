"""Run a render: claim, fetch, render, store, settle. No transaction is open while anything else works.

A worker may vanish at any step: its lease ends and the render runs again, its files under another name. What
a worker brings that is no longer wanted (canceled, or claimed anew) is dropped.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from uuid import UUID

from common import db, engines, log
from common.clients import storage
from common.dal import render_work as dal
from common.db import CommitUnknown, Connection, ConnectionLost, Row
from common.domain import renders
from common.engines import EngineError, Job, Picture
from common.errors import Unavailable

ATTEMPTS = 3
RENEW_S = 10.0
#: How long an engine may take; far above what any takes, and below the task's own deadline.
ENGINE_S = 240.0
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


class LostError(Exception):
    """The render is no longer this worker's: it was canceled, or its lease ended."""


def run(render_id: UUID) -> None:
    """Make the render's next attempt, if there is one to make now."""
    row = db.in_transaction(lambda conn: dal.claim(conn, render_id, ATTEMPTS))
    if row is None:
        db.in_transaction(lambda conn: _leave(conn, render_id))
        return
    stored: list[str] = []
    kept = False
    try:
        with Lease(row) as lease:
            files = _attempt(row, lease.report, stored)
        db.in_transaction(lambda conn: _succeed(conn, row, files))
        kept = True
    except CommitUnknown:
        kept = True  # they may be the render's: if not, they end by the bucket's lifecycle
        raise
    except LostError:
        log.event("render_dropped", renderId=row["id"], attempt=row["attempt"])
    except EngineError as error:
        failed = error  # Python forgets `error` with its block
        db.in_transaction(lambda conn: _fail(conn, row, failed))
    finally:
        if not kept:
            _drop(stored)


class Lease:
    """A claim that is renewed by a thread for as long as the block runs."""

    def __init__(self, row: Row, every_s: float = RENEW_S) -> None:
        """The lease of the claimed `row`, renewed every `every_s`."""
        self._id, self._attempt, self._every_s = row["id"], row["attempt"], every_s
        self._stage = "fetching"
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        """Begin to renew."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; the lease itself stays until it is settled or over."""
        self._over.set()
        self._thread.join()

    def report(self, stage: str) -> None:
        """Show the stage. LostError when the render is no longer ours."""
        self._stage = stage
        self._renew()
        if self._lost.is_set():
            raise LostError

    def _renew(self) -> None:
        if not db.in_transaction(lambda conn: dal.renew(conn, self._id, self._attempt, self._stage)):
            self._lost.set()

    def _keep(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._renew()
            except Unavailable as error:
                # The next one may work; if not, the lease ends and another worker takes over.
                logging.getLogger(__name__).warning("a lease was not renewed: %r", error)


def _attempt(row: Row, report: Callable[[str], None], stored: list[str]) -> list[dict[str, Any]]:
    """The files made of `row`, stored; their names are added to `stored` first. EngineError, LostError."""
    try:
        job = _job(row)
        pictures = engines.get(row["engine"]["name"]).render(job, report)
        report("storing")
        return [_store(row, picture, stored) for picture in pictures]
    except (EngineError, LostError, ConnectionLost):
        raise
    except FileNotFoundError as error:
        raise EngineError("upload_gone", "The uploaded file is gone.", retryable=False) from error
    except Unavailable as error:
        raise EngineError("unavailable", "The files could not be read or stored.", retryable=True) from error
    except Exception as error:
        logging.getLogger(__name__).exception("attempt %d of render %s failed", row["attempt"], row["id"])
        raise EngineError("internal", "The engine failed unexpectedly.", retryable=True) from error


def _job(row: Row) -> Job:
    return Job(
        snapshot=storage.read(row["snapshot"], row["snapshot_generation"]),
        depth=_optional(row["depth"], row["depth_generation"]),
        normal=_optional(row["normal"], row["normal_generation"]),
        prompt=row["prompt"],
        style=row["style"],
        quality=row["quality"],
        seed=row["seed"],
        geometry_fidelity=row["geometry_fidelity"],
        deadline=time.monotonic() + ENGINE_S,
    )


def _optional(name: str | None, generation: int) -> bytes | None:
    return storage.read(name, generation) if name else None


def _store(row: Row, picture: Picture, stored: list[str]) -> dict[str, Any]:
    """The file as `renders.files` keeps it. Its name has the attempt: no late worker overwrites another's."""
    extension = EXTENSIONS[picture.content_type]
    name = f"renders/{row['account_id']}/{row['id']}/{row['attempt']}/{picture.role}.{extension}"
    stored.append(name)
    storage.write(name, picture.data, picture.content_type)
    return {
        "role": picture.role,
        "object": name,
        "contentType": picture.content_type,
        "width": picture.width,
        "height": picture.height,
        "bytes": len(picture.data),
        "sha256": hashlib.sha256(picture.data).hexdigest(),
    }


def _succeed(conn: Connection, row: Row, files: list[dict[str, Any]]) -> None:
    """End the render. LostError when it is no longer ours."""
    if renders.end(conn, row, "succeeded", files=files) is None:
        raise LostError


def _fail(conn: Connection, row: Row, error: EngineError) -> None:
    """Queue the render again, a little later, or end it with the reason."""
    if not error.retryable or row["attempt"] >= ATTEMPTS:
        renders.end(conn, row, "failed", error=_stored(error))
    elif again := dal.put_back(conn, row["id"], row["attempt"], delay_s=5 * 4 ** (row["attempt"] - 1)):
        renders.enqueue(conn, again)


def _leave(conn: Connection, render_id: UUID) -> None:
    """A render that cannot be claimed: come back when its lease ends, or end it, or it is over already."""
    if again := dal.reschedule(conn, render_id):
        renders.enqueue(conn, again)
    elif row := dal.lock_abandoned(conn, render_id, ATTEMPTS):
        error = EngineError("worker_lost", f"The render was interrupted {ATTEMPTS} times.", retryable=True)
        renders.end(conn, row, "failed", error=_stored(error))
    else:
        renders.expire_one(conn, render_id)


def _stored(error: EngineError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "retryable": error.retryable}


def _drop(names: list[str]) -> None:
    """Delete what nobody will ask for. What cannot be deleted now ends by the bucket's lifecycle."""
    for name in names:
        try:
            storage.delete(name)
        except Unavailable as error:
            logging.getLogger(__name__).warning("%s was not deleted: %r", name, error)
