"""The JSON API, as far as google-cloud-storage needs it here: trusted, for our own functions on this machine.

https://cloud.google.com/storage/docs/json_api/v1
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import unquote

from tools.local.storage.errors import StorageError, invalid, not_allowed
from tools.local.storage.model import Object
from tools.local.storage.preconditions import Declared, Preconditions, number
from tools.local.storage.request import Request
from tools.local.storage.store import LAST, Store

MAX_MULTIPART_BYTES = 512 << 20
MAX_NAME_BYTES = 1024
PAGE = 1000
_PATH = re.compile(r"/(upload/|download/)?storage/v1/b/([^/]+)/o(?:/([^/]+))?")


def serve(request: Request) -> None:
    """Answer a request."""
    if "origin" in request.sent:
        raise StorageError(403, "AccessDenied", "The JSON API is not for browsers here.")
    found = _PATH.fullmatch(request.parts.path)
    if not found or unquote(found[2]) != request.bucket.name:
        raise StorageError(404, "NoSuchBucket", "The specified bucket does not exist.")
    if found[1] == "upload/":
        _upload(request)
    elif found[3] is None:
        _list(request)
    else:
        _object(request, unquote(found[3]))


def _object(request: Request, name: str) -> None:
    store, conditions = request.bucket.store, Preconditions.of_query(request.query)
    generation = number(request.query.get("generation"))
    if request.command == "DELETE":
        store.delete(name, conditions, generation)
        request.send(204)
        return
    if request.command not in ("GET", "HEAD"):
        raise not_allowed()
    found = store.find(name, generation)
    conditions.check(found.generation, reading=True)
    if request.query.get("alt") == "media":
        request.media(found)
    else:
        request.send_json(found.resource(request.bucket.name))


def _list(request: Request) -> None:
    if request.command != "GET":
        raise not_allowed()
    query, items, prefixes = request.query, list[Object](), list[str]()
    limit = min(number(query.get("maxResults")) or PAGE, PAGE)
    last = _name_of(query.get("pageToken", ""))
    for found, folder in _entries(request.bucket.store, query.get("prefix", ""), query.get("delimiter", ""), last):
        if len(items) + len(prefixes) == limit:
            request.send_json(_page(request, items, prefixes, last))
            return
        if folder:
            prefixes.append(folder)
        else:
            items.append(found)
        last = folder + LAST if folder else found.name
    request.send_json(_page(request, items, prefixes, ""))


def _entries(store: Store, prefix: str, delimiter: str, after: str) -> Iterator[tuple[Object, str]]:
    """The objects after `after`, with no folder; of those in a folder below `prefix` only the first, with its name."""
    while page := store.page(prefix, after, 1):
        found = page[0]
        head, split, _ = found.name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        folder = prefix + head + split if split else ""
        yield found, folder
        after = folder + LAST if folder else found.name


def _page(request: Request, items: list[Object], prefixes: list[str], last: str) -> dict[str, Any]:
    token = {"nextPageToken": base64.urlsafe_b64encode(last.encode()).decode()} if last else {}
    resources = [found.resource(request.bucket.name) for found in items]
    return {"kind": "storage#objects", "items": resources, "prefixes": prefixes, **token}


def _name_of(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, ValueError):
        raise invalid("Invalid pageToken.") from None


def _upload(request: Request) -> None:
    if "upload_id" in request.query:
        request.session(request.query["upload_id"])
        return
    if request.command != "POST":
        raise not_allowed()
    kinds = {"resumable": _begin, "multipart": _multipart, "media": _media}
    kind = kinds.get(request.query.get("uploadType", ""))
    if kind is None:
        raise invalid("uploadType must be media, multipart or resumable.")
    kind(request)


def _begin(request: Request) -> None:
    metadata = request.json_body()
    session = request.bucket.store.begin(
        _name(request, metadata),
        metadata.get("contentType") or request.sent.get("x-upload-content-type", "application/octet-stream"),
        preconditions=Preconditions.of_query(request.query),
        declared=Declared.of({}, metadata),
        total=number(request.sent.get("x-upload-content-length")),
        signed=False,
    )
    place = f"/upload/storage/v1/b/{request.bucket.name}/o?uploadType=resumable&upload_id={session.id}"
    request.send(200, b"", {"Location": request.url(place)})


def _media(request: Request) -> None:
    name = _name(request, {})
    with request.bucket.store.new_file() as file:
        request.save(file)
        kind = request.sent.get("content-type", "application/octet-stream")
        conditions = Preconditions.of_query(request.query)
        found = request.bucket.store.commit(name, kind, file, conditions, Declared.of(request.sent))
    request.send_json(found.resource(request.bucket.name))


def _multipart(request: Request) -> None:
    """Metadata and media in one body (RFC 2387), as the client library sends small objects."""
    if request.left > MAX_MULTIPART_BYTES:
        raise StorageError(413, "EntityTooLarge", "Send this resumably.")
    head = f"Content-Type: {request.sent.get('content-type', '')}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + b"".join(request.body())).get_payload()
    if request.left or not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[1], Message):  # noqa: PLR2004
        raise invalid("Malformed multipart body.")
    metadata = _metadata(parts[0])
    kind = metadata.get("contentType") or parts[1].get_content_type()
    with request.bucket.store.new_file() as file:
        file.write_bytes(_payload(parts[1]))
        conditions, declared = Preconditions.of_query(request.query), Declared.of(request.sent, metadata)
        found = request.bucket.store.commit(_name(request, metadata), kind, file, conditions, declared)
    request.send_json(found.resource(request.bucket.name))


def _metadata(part: Any) -> dict[str, Any]:
    try:
        found = json.loads(_payload(part))
    except ValueError:
        raise invalid("Parse Error") from None
    if not isinstance(found, dict):
        raise invalid("Parse Error")
    return found


def _name(request: Request, metadata: dict[str, Any]) -> str:
    """A new object's name: https://cloud.google.com/storage/docs/objects#naming."""
    name = str(metadata.get("name") or request.query.get("name", ""))
    if not name or len(name.encode()) > MAX_NAME_BYTES or set("\r\n") & set(name) or name in (".", ".."):
        raise invalid("The object's name is missing or not allowed.")
    return name


def _payload(part: Any) -> bytes:
    payload: bytes = part.get_payload(decode=True)
    return payload
