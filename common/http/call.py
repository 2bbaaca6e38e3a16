"""From Flask's request to ours."""

import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from common import log, platforms
from common.auth.caller import Call
from common.errors import TooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from flask import Request

MAX_BODY_BYTES = 1 << 20
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def read(request: "Request") -> Call:
    """The facts of `request`; never fails."""
    # Werkzeug's headers are a mapping in all but name, and know no case.
    headers = cast("Mapping[str, str]", request.headers)
    return Call(
        request_id=_request_id(request.headers.get("X-Request-Id", "")),
        method=request.method,
        path=request.path,
        headers=headers,
        cookies=request.cookies,
        address=client_address(request.headers.get("X-Forwarded-For", ""), request.remote_addr or ""),
        user_agent=_plain(request.headers.get("User-Agent", ""))[:500],
        platform=platforms.detect(headers),
    )


def body(request: "Request") -> bytes:
    """The body, at most 1 MiB of JSON. TooLarge or UnsupportedMediaType otherwise."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise TooLarge("A body has at most 1 MiB; files go to an upload.")
    data: bytes = request.stream.read(MAX_BODY_BYTES + 1)
    if len(data) > MAX_BODY_BYTES:
        raise TooLarge("A body has at most 1 MiB; files go to an upload.")
    if data and request.mimetype != "application/json":
        raise UnsupportedMediaType("Bodies are application/json.")
    return data


def client_address(forwarded: str, peer: str) -> str:
    """The client's address: second from the right, before the load balancer's own.

    Whatever stands further left was written by the client.
    """
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    return (hops[-2] if len(hops) > 1 else peer)[:64]


def _request_id(sent: str) -> str:
    """The id that was sent, if it is one, and no secret: it is logged and kept."""
    return sent if _SANE_ID.fullmatch(sent) and log.redacted(sent) == sent else uuid.uuid4().hex


def _plain(text: str) -> str:
    """`text` without what no log line and no database column should hold."""
    return "".join(char for char in text if char.isprintable())
