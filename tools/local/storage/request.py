"""One request of either API: its words, its body as a stream, and its answers."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

from tools.local.storage import cors, resumable
from tools.local.storage.errors import StorageError, invalid, not_allowed
from tools.local.storage.model import Object
from tools.local.storage.preconditions import Declared
from tools.local.storage.store import BUFFER, Store, read

PHRASES = {308: "Resume Incomplete", 499: "Client Closed Request"}
WITHOUT_BODY = (204, 304)


@dataclass(frozen=True)
class Bucket:
    """What is served: its content, who may sign (e-mail to RSA public key), and its CORS configuration."""

    name: str
    store: Store
    signers: Mapping[str, Any]
    cors_rules: Sequence[Mapping[str, Any]] = cors.DEFAULT


class Request(BaseHTTPRequestHandler):
    """What both APIs need of a request. Whoever reads it sets what is declared here."""

    bucket: Bucket
    parts: SplitResult
    #: The query and the headers, the latter by lower-case name.
    query: Mapping[str, str]
    sent: Mapping[str, str]
    #: Bytes of the body that were not read yet.
    left: int

    def body(self) -> Iterator[bytes]:
        """The request's body as it comes; it ends early when the client goes away."""
        while self.left > 0:
            data = self.rfile.read1(min(BUFFER, self.left))
            if not data:
                self.close_connection = True
                return
            self.left -= len(data)
            yield data

    def save(self, path: Path) -> None:
        """The whole body in a file. StorageError 400 when it was cut short."""
        with path.open("wb") as file:
            for data in self.body():
                file.write(data)
        if self.left:
            raise StorageError(400, "IncompleteBody", "You did not provide the number of bytes that you specified.")

    def json_body(self) -> dict[str, Any]:
        """The body's JSON object; StorageError 400 when it is none."""
        try:
            found = json.loads(b"".join(self.body()) or b"{}")
        except ValueError:
            raise invalid("Parse Error") from None
        if not isinstance(found, dict):
            raise invalid("Parse Error")
        return found

    def session(self, session_id: str) -> None:
        """A request to a resumable upload, of whichever API; its id is the secret, and nothing is signed."""
        store = self.bucket.store
        with store.session_lock(session_id):
            session = store.session(session_id)
            if self.command == "DELETE":
                store.cancel(session)
                self.send(499)
                return
            if self.command not in ("PUT", "POST"):
                raise not_allowed()
            chunk = resumable.parse(self.sent.get("content-range", ""), self.left)
            result = resumable.receive(store, session, chunk, self.body(), Declared.of(self.sent))
            if isinstance(result, int):
                self.send(308, b"", {"Range": f"bytes=0-{result - 1}"} if result else {})
            elif session.signed:
                self.send(200, b"", result.headers())
            else:
                self.send_json(result.resource(self.bucket.name))

    def media(self, found: Object) -> None:
        """An object's bytes, or the range of them that is asked for."""
        asked = _range(self.sent.get("range", ""), found.size)
        start, end = asked or (0, found.size)
        status = HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK
        headers = {
            "Content-Type": found.content_type,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, max-age=0",
            "Last-Modified": formatdate(found.created, usegmt=True),
            **found.headers(),
        }
        for name in ("content-disposition", "content-type"):
            if value := self.query.get(f"response-{name}"):
                headers[name.title()] = value
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
        self._head(status, end - start, headers)
        if self.command != "HEAD":
            for data in read(found.file, start, end - start):
                self.wfile.write(data)

    def url(self, path: str) -> str:
        """This server's address of `path`, as the client knows it."""
        return f"http://{self.sent.get('host', '')}{path}"

    def send_json(self, value: dict[str, Any]) -> None:
        """An answer of the JSON API."""
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})

    def send(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer, after what the request still has: it stands before the next one on this connection."""
        for _ in self.body():
            pass
        self._head(status, len(body), headers or {})
        if self.command != "HEAD" and status not in WITHOUT_BODY:
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status, PHRASES.get(status) or HTTPStatus(status).phrase)
        for name, value in {**headers, **cors.headers(self.bucket.cors_rules, self.command, self.sent)}.items():
            self.send_header(name, value)
        if status not in WITHOUT_BODY:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """The first byte and one past the last; None when no single range is asked for, or nonsense (RFC 9110, 14.2)."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked, re.ASCII)
    first, last = (found[1], found[2]) if found else ("", "")
    if (not first and not last) or (first and last and int(last) < int(first)):
        return None
    start = int(first) if first else max(0, size - int(last))
    if start >= size:
        raise StorageError(
            416, "InvalidRange", "The requested range cannot be satisfied.", {"Content-Range": f"bytes */{size}"}
        )
    return start, min(size, int(last) + 1) if first and last else size
