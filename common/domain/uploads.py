"""Uploads: signed and verified here, sent to Cloud Storage directly. Nothing a client says is trusted."""

from functools import partial
from uuid import UUID, uuid4

from common import db
from common.auth.caller import Caller
from common.clients import storage
from common.dal import uploads as dal
from common.db import Connection, Row
from common.domain import image_header
from common.domain.image_header import Header, NotAnImageError
from common.errors import Conflict, Invalid, NotFound
from common.schemas.uploads import MAX_BYTES, CreateUpload, Transfer, Upload

MAX_SIDE = 16_384
MAX_PIXELS = 100_000_000


def create(conn: Connection, caller: Caller, body: CreateUpload) -> Upload:
    """A new upload, waiting for its file."""
    name = f"uploads/{caller.account_id}/{uuid4()}"
    # Signed before the row is written: no row is locked during the call, and none is left when it fails.
    storage.upload_url(name, body.content_type, MAX_BYTES)
    row = dal.insert(
        conn,
        account_id=caller.account_id,
        purpose=body.purpose,
        file_name=body.file_name,
        content_type=body.content_type,
        size_bytes=body.size_bytes,
        md5=body.md5,
        object_name=name,
    )
    return _present(row)


def get(conn: Connection, caller: Caller, upload_id: UUID) -> Upload:
    """The caller's upload; its transfer is signed anew while it is pending. NotFound."""
    return _present(_find(conn, caller, upload_id))


def complete(caller: Caller, upload_id: UUID) -> Upload:
    """The upload, verified and ready. No connection is held while Cloud Storage is asked.

    A file that is not what was declared, or no picture, is deleted and the upload stays pending, so that
    the right file can be sent to it; nothing is left behind when none is. Conflict `upload_incomplete`;
    Invalid `upload_mismatch`, `upload_not_an_image`, `image_too_large`.
    """
    row = db.pool().run(lambda conn: _find(conn, caller, upload_id))
    if row["status"] != "pending":
        return _present(_completed(row))
    stat = storage.find(row["object_name"])
    if stat is None:
        raise _incomplete("The file has not arrived.")
    try:
        header = _verified(row, stat)
    except Invalid:
        storage.delete(row["object_name"], stat.generation)
        raise
    return _present(db.pool().run(lambda conn: _complete(conn, caller, upload_id, stat, header)))


def cancel(conn: Connection, caller: Caller, upload_id: UUID) -> None:
    """Give the upload up and delete what came of it. Conflict `upload_already_completed`."""
    canceled = dal.cancel(conn, caller.account_id, upload_id)
    if canceled:
        conn.after_commit(lambda: storage.delete(canceled["object_name"]))
    elif _find(conn, caller, upload_id)["status"] == "ready":
        raise Conflict("The upload is complete; renders may use it.", code="upload_already_completed")


def expire_overdue(limit: int) -> int:
    """Expire at most `limit` uploads that were not completed in time, and delete their files; how many."""
    with db.transaction() as conn:
        expired = dal.expire(conn, limit)
        for row in expired:
            conn.after_commit(partial(storage.delete, row["object_name"]))
    return len(expired)


def _find(conn: Connection, caller: Caller, upload_id: UUID) -> Row:
    row = dal.find(conn, caller.account_id, upload_id)
    if row is None:
        raise NotFound("There is no such upload.")
    return row


def _complete(conn: Connection, caller: Caller, upload_id: UUID, stat: storage.Stat, header: Header) -> Row:
    """The upload, now ready. Another call may have completed or canceled it in the meantime."""
    done = dal.complete(
        conn,
        caller.account_id,
        upload_id,
        md5=stat.md5,
        generation=stat.generation,
        width=header.width,
        height=header.height,
    )
    return done or _completed(_find(conn, caller, upload_id))


def _completed(row: Row) -> Row:
    if row["status"] != "ready":
        raise _incomplete(f"The upload is {row['status']}; make a new one.")
    return row


def _incomplete(detail: str) -> Conflict:
    return Conflict(detail, code="upload_incomplete")


def _verified(row: Row, stat: storage.Stat) -> Header:
    """The header of the file that was sent, after everything about it was compared with `row`."""
    if stat.size != row["size_bytes"]:
        raise _mismatch(f"The file has {stat.size} bytes, {row['size_bytes']} were declared.")
    if row["md5"] and stat.md5 != row["md5"]:
        raise _mismatch(f"The file's MD5 is {stat.md5}, {row['md5']} was declared.")
    header = _whole_header(row["object_name"], stat)
    if header.content_type != row["content_type"]:
        raise _mismatch(f"The file is {header.content_type}, {row['content_type']} was declared.")
    if max(header.width, header.height) > MAX_SIDE or header.width * header.height > MAX_PIXELS:
        raise Invalid(
            f"The picture has {header.width} × {header.height} pixels; a side may have {MAX_SIDE}"
            f" and the whole {MAX_PIXELS}.",
            code="image_too_large",
        )
    return header


def _mismatch(detail: str) -> Invalid:
    return Invalid(detail, code="upload_mismatch")


def _whole_header(name: str, stat: storage.Stat) -> Header:
    """The header of a picture that is there from its first to its last byte."""
    try:
        header, start = _header(name, stat)
        image_header.check_end(header, start, storage.read_end(name, stat.generation, image_header.END), stat.size)
    except NotAnImageError as error:
        raise Invalid(f"The file is not a picture: {error}.", code="upload_not_an_image") from None
    except FileNotFoundError:
        raise _incomplete("The file was deleted in the meantime.") from None
    return header


def _header(name: str, stat: storage.Stat) -> tuple[Header, bytes]:
    """The header by ranged reads of bounded length, and what was read."""
    for length in (image_header.SHORT, image_header.LONG):
        start = storage.read_start(name, stat.generation, length)
        if header := image_header.parse(start):
            return header, start
        if stat.size <= length:
            break
    raise NotAnImageError("its header has no end")


def _present(row: Row) -> Upload:
    transfer = None
    if row["status"] == "pending":
        signed = storage.upload_url(row["object_name"], row["content_type"], MAX_BYTES)
        transfer = Transfer(url=signed.url, start_headers=dict(signed.headers))
    return Upload(**{name: value for name, value in row.items() if name != "object_name"}, transfer=transfer)
