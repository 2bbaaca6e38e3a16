"""The XML API, as far as signed URLs go: for plugins and browsers.

https://cloud.google.com/storage/docs/xml-api/overview
"""

import re
from urllib.parse import unquote

from tools.local.storage import signing
from tools.local.storage.errors import StorageError, invalid, not_allowed
from tools.local.storage.preconditions import Declared, Preconditions, number
from tools.local.storage.request import Request

BINARY = "application/octet-stream"


def serve(request: Request) -> None:
    """Answer a request."""
    found = re.fullmatch(r"/([^/]+)/(.+)", request.parts.path)
    if not found or found[1] != request.bucket.name:
        raise StorageError(404, "NoSuchBucket", "The specified bucket does not exist.")
    if "upload_id" in request.query:
        request.session(request.query["upload_id"])
        return
    signing.verify(request.bucket.signers, request.command, request.parts.path, request.parts.query, request.sent)
    _serve_signed(request, unquote(found[2]))


def _serve_signed(request: Request, name: str) -> None:
    store, conditions = request.bucket.store, Preconditions.of_headers(request.sent)
    if request.command == "POST" and request.sent.get("x-goog-resumable") == "start":
        _begin(request, name)
    elif request.command == "PUT":
        _put(request, name)
    elif request.command == "DELETE":
        store.delete(name, conditions)
        request.send(204)
    elif request.command in ("GET", "HEAD"):
        found = store.find(name, number(request.query.get("generation")))
        conditions.check(found.generation, reading=True)
        if request.sent.get("if-none-match") == f'"{found.md5_hex}"':
            raise StorageError(304, "NotModified", "The resource has not been modified.")
        request.media(found)
    else:
        raise not_allowed()


def _begin(request: Request, name: str) -> None:
    """A session. Whether Cloud Storage enforces a declared length's range here is not documented: it is not."""
    session = request.bucket.store.begin(
        name,
        request.sent.get("content-type", BINARY),
        preconditions=Preconditions.of_headers(request.sent),
        declared=Declared.of(request.sent),
        total=number(request.sent.get("x-upload-content-length")),
        signed=True,
    )
    request.send(201, b"", {"Location": request.url(f"{request.parts.path}?upload_id={session.id}")})


def _put(request: Request, name: str) -> None:
    _check_length(request.left, request.sent.get("x-goog-content-length-range"))
    store = request.bucket.store
    with store.new_file() as file:
        request.save(file)
        kind, conditions = request.sent.get("content-type", BINARY), Preconditions.of_headers(request.sent)
        found = store.commit(name, kind, file, conditions, Declared.of(request.sent))
    request.send(200, b"", found.headers())


def _check_length(length: int, limits: str | None) -> None:
    """`x-goog-content-length-range: least,most`: StorageError 400 for a body of another length."""
    if limits is None:
        return
    found = re.fullmatch(r"(\d+),(\d+)", limits, re.ASCII)
    if not found:
        raise invalid("Malformed x-goog-content-length-range.")
    if length < int(found[1]):
        raise StorageError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum object size.")
    if length > int(found[2]):
        raise StorageError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
