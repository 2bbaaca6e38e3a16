"""The HTTP server: a thread a connection, bodies streamed to and from disk."""

import json
import re
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tools.local.storage import resumable, signing
from tools.local.storage.errors import StorageError
from tools.local.storage.store import BUFFER, Object, Session, Store, as_json, read

MAX_MULTIPART_BYTES = 512 << 20
CORS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Content-Type, Content-Range, x-goog-resumable, x-goog-if-generation-match,"
    " x-goog-content-length-range",
    "Access-Control-Expose-Headers": "Location, Range, ETag, x-goog-generation, x-goog-hash",
    "Access-Control-Max-Age": "3600",
}


class Server(ThreadingHTTPServer):
    """One bucket on one port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], store: Store, bucket: str, signers: dict[str, Any]) -> None:
        """`signers`: e-mail to RSA public key."""
        self.store, self.bucket, self.signers = store, bucket, signers
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True
    # A writer that waits for the peer must not wait for ever.
    timeout = 120

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: signed URLs and session ids are secrets."""

    def handle_request(self) -> None:
        """Answer one request, whatever its method."""
        self._left = int(self.headers.get("Content-Length") or 0)
        self._parts = urlsplit(self.path)
        self._query = {name: values[-1] for name, values in parse_qs(self._parts.query).items()}
        api = self._parts.path.startswith(("/storage/", "/upload/", "/download/"))
        try:
            if self.headers.get("Transfer-Encoding"):
                raise StorageError(411, "MissingContentLength", "You must provide Content-Length.")
            if self.command == "OPTIONS":
                self._send(200, b"")
            elif api:
                self._json_api()
            else:
                self._xml_api()
        except StorageError as error:
            kind = "application/json" if api else "application/xml"
            self._send(error.status, error.json() if api else error.xml(), {"Content-Type": kind, **error.headers})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_request

    # The JSON API: trusted, for our own functions on this machine.

    def _json_api(self) -> None:
        if self.headers.get("Origin"):
            raise StorageError(403, "forbidden", "The JSON API is not for browsers here.")
        found = re.fullmatch(r"/(?:upload/|download/)?storage/v1/b/([^/]+)/o(?:/([^/]+))?", self._parts.path)
        if not found or unquote(found[1]) != self.server.bucket:
            raise StorageError(404, "notFound", "The specified bucket does not exist.")
        name = unquote(found[2]) if found[2] else None
        if self._parts.path.startswith("/upload/"):
            self._upload()
        elif name is None:
            self._list()
        elif self.command == "DELETE":
            self.server.store.delete(name, self._number("ifGenerationMatch"))
            self._send(204, b"")
        else:
            self._read_object(self.server.store.find(name, self._number("generation")))

    def _read_object(self, found: Object) -> None:
        if self._query.get("alt") == "media":
            self._media(found)
        else:
            self._resource(found)

    def _list(self) -> None:
        limit = min(int(self._query.get("maxResults") or 1000), 1000)
        page = self.server.store.page(self._query.get("prefix", ""), self._query.get("pageToken", ""), limit + 1)
        items = [found.resource(self.server.bucket) for found in page[:limit]]
        more = {"nextPageToken": page[limit - 1].name} if len(page) > limit else {}
        self._send_json(200, {"kind": "storage#objects", "items": items, **more})

    def _upload(self) -> None:
        kind = self._query.get("uploadType")
        if kind == "resumable" and "upload_id" in self._query:
            self._session(self._query["upload_id"])
        elif kind == "resumable":
            self._begin_resumable()
        elif kind == "multipart":
            self._multipart()
        else:
            name = self._query.get("name", "")
            self._store_part(name, self.headers.get("Content-Type", ""), self._body())

    def _begin_resumable(self) -> None:
        metadata = json.loads(b"".join(self._body()) or b"{}")
        total = self.headers.get("X-Upload-Content-Length")
        session = self.server.store.begin(
            metadata.get("name") or self._query.get("name", ""),
            metadata.get("contentType") or self.headers.get("X-Upload-Content-Type", "application/octet-stream"),
            generation_match=self._number("ifGenerationMatch"),
            total=int(total) if total else None,
            signed=False,
        )
        place = f"/upload/storage/v1/b/{self.server.bucket}/o?uploadType=resumable&upload_id={session.id}"
        self._send(200, b"", {"Location": self._url(place)})

    def _multipart(self) -> None:
        """Metadata and media in one body (RFC 2387), as the client library sends small objects."""
        if self._left > MAX_MULTIPART_BYTES:
            raise StorageError(413, "uploadTooLarge", "Send this resumably.")
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = BytesParser().parsebytes(head + b"".join(self._body()))
        parts = message.get_payload()
        if not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[1], Message):  # noqa: PLR2004
            raise StorageError(400, "invalid", "Malformed multipart body.")
        metadata, media = json.loads(_payload(parts[0])), _payload(parts[1])
        name = metadata.get("name") or self._query.get("name", "")
        kind = metadata.get("contentType") or parts[1].get_content_type()
        self._store_part(name, kind, iter([media]), metadata)

    def _store_part(
        self, name: str, content_type: str, body: Iterator[bytes], metadata: dict[str, Any] | None = None
    ) -> None:
        part = self.server.store.new_part()
        with part.open("wb") as file:
            for data in body:
                file.write(data)
        found = self.server.store.commit(name, content_type, part, self._number("ifGenerationMatch"))
        told = (metadata or {}).get("md5Hash")
        if told and told != found.md5:
            self.server.store.delete(name, None)
            raise StorageError(400, "invalid", f"Provided MD5 hash {told!r} doesn't match calculated {found.md5!r}.")
        self._resource(found)

    # Signed URLs: for plugins and browsers.

    def _xml_api(self) -> None:
        found = re.fullmatch(r"/([^/]+)/(.+)", self._parts.path)
        if not found or found[1] != self.server.bucket:
            raise StorageError(404, "NoSuchBucket", "The specified bucket does not exist.")
        name = unquote(found[2])
        if "upload_id" in self._query:
            # The session's id is the secret; a session URI is not signed.
            self._session(self._query["upload_id"])
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        signing.verify(self.server.signers, self.command, self._parts.path, self._parts.query, headers)
        if self.command == "POST" and headers.get("x-goog-resumable") == "start":
            self._begin_signed(name, headers)
        elif self.command == "PUT":
            self._put(name, headers)
        elif self.command in ("GET", "HEAD"):
            self._media(self.server.store.find(name))
        else:
            raise StorageError(405, "MethodNotAllowed", "The method is not allowed here.")

    def _begin_signed(self, name: str, headers: dict[str, str]) -> None:
        wanted = headers.get("x-goog-if-generation-match")
        session = self.server.store.begin(
            name,
            headers.get("content-type", "application/octet-stream"),
            generation_match=int(wanted) if wanted else None,
            total=None,
            signed=True,
        )
        self._send(201, b"", {"Location": self._url(f"{self._parts.path}?upload_id={session.id}")})

    def _put(self, name: str, headers: dict[str, str]) -> None:
        wanted = headers.get("x-goog-if-generation-match")
        part = self.server.store.new_part()
        with part.open("wb") as file:
            for data in self._body():
                file.write(data)
        kind = headers.get("content-type", "application/octet-stream")
        found = self.server.store.commit(name, kind, part, int(wanted) if wanted else None)
        self._send(200, b"", _facts(found))

    # Both.

    def _session(self, session_id: str) -> None:
        with self.server.store.session_lock(session_id):
            session = self.server.store.session(session_id)
            if self.command == "DELETE":
                self.server.store.cancel(session)
                self._send(499, b"")
                return
            if self.command not in ("PUT", "POST"):
                raise StorageError(405, "MethodNotAllowed", "The method is not allowed here.")
            chunk = resumable.parse(self.headers.get("Content-Range", ""), self._left)
            self._told(session, resumable.receive(self.server.store, session, chunk, self._body()))

    def _told(self, session: Session, result: Object | int) -> None:
        if isinstance(result, int):
            self._send(308, b"", {"Range": f"bytes=0-{result - 1}"} if result else {})
        elif session.signed:
            self._send(200, b"", _facts(result))
        else:
            self._resource(result)

    def _media(self, found: Object) -> None:
        start, end, status = 0, found.size, 200
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and (asked[1] or asked[2]):
            start = int(asked[1]) if asked[1] else max(0, found.size - int(asked[2]))
            end = min(found.size, int(asked[2]) + 1) if asked[1] and asked[2] else found.size
            if start >= found.size:
                raise StorageError(
                    416,
                    "InvalidRange",
                    "The requested range cannot be satisfied.",
                    {"Content-Range": f"bytes */{found.size}"},
                )
            status = 206
        headers = {"Content-Type": found.content_type, "Accept-Ranges": "bytes", **_facts(found)}
        for name in ("content-disposition", "content-type"):
            if value := self._query.get(f"response-{name}"):
                headers[name.title()] = value
        if status == 206:  # noqa: PLR2004
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
        self._head(status, end - start, headers)
        if self.command != "HEAD":
            for data in read(found.file, start, end - start):
                self.wfile.write(data)

    def _resource(self, found: Object) -> None:
        self._send_json(200, found.resource(self.server.bucket))

    def _number(self, name: str) -> int | None:
        value = self._query.get(name)
        return int(value) if value and value.isdigit() else None

    def _body(self) -> Iterator[bytes]:
        """The request's body as it comes; it ends early when the client goes away."""
        while self._left > 0:
            data = self.rfile.read1(min(BUFFER, self._left))
            if not data:
                self.close_connection = True
                return
            self._left -= len(data)
            yield data

    def _url(self, path: str) -> str:
        return f"http://{self.headers.get('Host', '')}{path}"

    def _send_json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, as_json(value), {"Content-Type": "application/json; charset=UTF-8"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        for _ in self._body():
            pass  # what the request still has stands before the next one on this connection
        self._head(status, len(body), headers or {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        phrase = {308: "Resume Incomplete", 499: "Client Closed Request"}.get(status)
        self.send_response(status, phrase or HTTPStatus(status).phrase)
        if origin := self.headers.get("Origin"):
            headers = {**headers, **CORS, "Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:  # noqa: PLR2004 - no content has no length
            self.send_header("Content-Length", str(length))
        self.end_headers()


def load_signers(given: list[str]) -> dict[str, Any]:
    """`EMAIL=public_key.pem` words as e-mail to key."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pairs = (word.partition("=") for word in given)
    return {email: load_pem_public_key(Path(path).read_bytes()) for email, _, path in pairs}


def _facts(found: Object) -> dict[str, str]:
    return {
        "ETag": f'"{found.md5}"',
        "x-goog-generation": str(found.generation),
        "x-goog-hash": f"crc32c={found.crc32c},md5={found.md5}",
        "x-goog-stored-content-length": str(found.size),
    }


def _payload(part: Any) -> bytes:
    payload: bytes = part.get_payload(decode=True)
    return payload
