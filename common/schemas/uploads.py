"""Uploads on the wire."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from common.schemas.base import Request, Response, Text, Time

Purpose = Literal["snapshot", "depth", "normal"]
ContentType = Literal["image/png", "image/jpeg", "image/webp"]
MAX_BYTES = 268_435_456


def _md5(text: str) -> str:
    """24 characters of base64 that are exactly 16 bytes."""
    import base64
    import binascii

    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 16 or base64.b64encode(digest).decode() != text:  # noqa: PLR2004 - an MD5 has 16 bytes
        raise ValueError("must be the MD5 in base64")
    return text


class CreateUpload(Request):
    """A file about to be uploaded: PNG, JPEG or WebP, 1 byte to 256 MiB. `md5` is base64."""

    file_name: Annotated[Text, Field(min_length=1, max_length=255)]
    content_type: ContentType
    size_bytes: Annotated[int, Field(ge=1, le=MAX_BYTES)]
    purpose: Purpose
    md5: Annotated[str, AfterValidator(_md5)] | None = None


class Transfer(Response):
    """How to send the file: POST `url` with `headers` and no body; the answer's `Location` takes chunks."""

    type: Literal["gcs-signed-resumable"] = "gcs-signed-resumable"
    method: Literal["POST"] = "POST"
    url: str
    start_headers: Annotated[dict[str, str], Field(alias="headers")]
    chunk_multiple_bytes: int = 262_144
    suggested_chunk_bytes: int = 8_388_608


class Upload(Response):
    """A picture on its way in, or there.

    While `pending`, `transfer` says how to send the file, and `md5` and `content_type` are what was declared.
    Once `ready` they are what was found, `width` and `height` are pixels and there is no `transfer`.
    """

    id: UUID
    status: Literal["pending", "ready", "canceled", "expired"]
    purpose: Purpose
    file_name: str
    size_bytes: int
    md5: str | None
    content_type: ContentType
    width: int | None
    height: int | None
    transfer: Transfer | None
    created_at: Time
    expires_at: Time
