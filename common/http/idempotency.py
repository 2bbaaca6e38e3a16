"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): the same POST again does nothing again."""

import hashlib
import re
from collections.abc import Callable
from uuid import UUID

from common.auth.caller import Call, Caller
from common.dal import idempotency
from common.db import Connection
from common.errors import BadRequest, Conflict, Invalid
from common.schemas.base import Response

Replay = Callable[[Connection, Caller, UUID], Response]
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_IN_FLIGHT = "The first request with this Idempotency-Key is still running."


def secret_once(_conn: Connection, _caller: Caller, _id: UUID) -> Response:
    """The replay of an answer that held a secret: there is none."""
    raise Conflict("The secret of this answer was shown once and is not shown again.", code="secret_already_shown")


def key_of(call: Call, *, required: bool) -> str | None:
    """The request's key without its quotes. BadRequest when it is missing but required, or malformed."""
    sent = call.headers.get("Idempotency-Key")
    if sent is None:
        if required:
            raise BadRequest("This request needs an Idempotency-Key.", code="idempotency_key_required")
        return None
    key = sent[1:-1] if len(sent) > 1 and sent[0] == sent[-1] == '"' else sent
    if not _KEY.fullmatch(key):
        raise BadRequest("An Idempotency-Key has 1 to 255 visible ASCII characters.", code="idempotency_key_invalid")
    return key


def once(
    conn: Connection,
    caller: Caller,
    key: str,
    function: str,
    request: bytes,
    status: int,
    work: Callable[[], Response],
    replay: Replay,
) -> tuple[Response, int, bool]:
    """The answer of `work` done at most once for `key`, its status, and whether it was replayed.

    `request` is what must be the same for a replay. Runs in the transaction that does the work: only what is
    committed is remembered.
    """
    digest = hashlib.sha256(request).digest()
    record = idempotency.begin(conn, caller.account_id, key)
    if not record["locked"]:
        raise Conflict(_IN_FLIGHT, code="idempotency_in_flight")
    if record["function"] is None:
        done = work()
        if not idempotency.remember(conn, caller.account_id, key, function, digest, status, _id(done)):
            raise Conflict(_IN_FLIGHT, code="idempotency_in_flight")
        return done, status, False
    if (record["function"], record["request_sha256"]) != (function, digest):
        raise Invalid("This Idempotency-Key was used for another request.", code="idempotency_mismatch")
    return replay(conn, caller, record["resource_id"]), record["status"], True


def _id(model: Response) -> UUID:
    found: UUID = model.id  # type: ignore[attr-defined]  # every created resource has one
    return found
