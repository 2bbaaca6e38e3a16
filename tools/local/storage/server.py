"""The HTTP server: a thread a connection, bodies streamed to and from disk."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tools.local.storage import cors, json_api, resumable, xml_api
from tools.local.storage.errors import StorageError, invalid, not_allowed
from tools.local.storage.model import Object
from tools.local.storage.preconditions import Declared, number
from tools.local.storage.store import BUFFER, Store, read

PHRASES = {308: "Resume Incomplete", 499: "Client Closed Request"}
WITHOUT_BODY = (204, 304)


class Server(ThreadingHTTPServer):
    """One bucket on one port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        store: Store,
        bucket: str,
        signers: dict[str, Any],
        cors_rules: Sequence[Mapping[str, Any]] = cors.DEFAULT,
    ) -> None:
        """`signers`: e-mail to RSA public key."""
        self.store, self.bucket, self.signers, self.cors_rules = store, bucket, signers, cors_rules
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection, and what both APIs need of a request."""

    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True
    # A writer that waits for the peer must not wait for ever.
    timeout = 120

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: signed URLs and session ids are secrets."""

    def handle_request(self) -> None:
        """Answer one request, whatever its method."""
        self.left = 0
        self.parts = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(self.parts.query, keep_blank_values=True).items()}
        self.sent = {name.lower(): ",".join(self.headers.get_all(name, ())) for name in self.headers}
        is_json = self.parts.path.startswith(("/storage/", "/upload/", "/download/"))
        try:
            self._answer(is_json)
        except StorageError as error:
            self._refuse(error, is_json)
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            logging.getLogger(__name__).exception("%s failed", self.command)
            self._refuse(StorageError(500, "InternalError", "We encountered an internal error."), is_json)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_request

    def _answer(self, is_json: bool) -> None:
        if "transfer-encoding" in self.sent:
            self.close_connection = True
            raise StorageError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        self.left = number(self.sent.get("content-length")) or 0
        if self.command == "OPTIONS":
            self.send(200)
        elif is_json:
            json_api.serve(self)
        else:
            xml_api.serve(self)

    def _refuse(self, error: StorageError, is_json: bool) -> None:
        if error.status in WITHOUT_BODY:
            self.send(error.status, b"", error.headers)
            return
        kind = "application/json" if is_json else "application/xml"
        content = error.json() if is_json else error.xml()
        self.send(error.status, content, {"Content-Type": f"{kind}; charset=UTF-8", **error.headers})

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
        store = self.server.store
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
                self.send_json(result.resource(self.server.bucket))

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
        for name, value in {**headers, **cors.headers(self.server.cors_rules, self.command, self.sent)}.items():
            self.send_header(name, value)
        if status not in WITHOUT_BODY:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def load_signers(given: list[str]) -> dict[str, Any]:
    """`EMAIL=public_key.pem` words as e-mail to key."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pairs = (word.partition("=") for word in given)
    return {email: load_pem_public_key(Path(path).read_bytes()) for email, _, path in pairs}


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
