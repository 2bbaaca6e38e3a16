"""The HTTP server: a thread a connection, bodies streamed to and from disk."""

import logging
import sys
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tools.local.storage import json_api, xml_api
from tools.local.storage.errors import StorageError
from tools.local.storage.request import WITHOUT_BODY, Bucket, Request


class Server(ThreadingHTTPServer):
    """One bucket on one port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], bucket: Bucket) -> None:
        """It listens; `serve_forever` answers."""
        super().__init__(address, partial(Handler, bucket))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(Request):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # A writer that waits for the peer must not wait for ever.
    timeout = 120

    def __init__(self, bucket: Bucket, *connection: Any) -> None:
        """Answer what comes, until the connection ends."""
        self.bucket = bucket
        super().__init__(*connection)

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
        if "transfer-encoding" in self.sent or not self.sent.get("content-length", "0").isdecimal():
            self.close_connection = True  # where the next request would begin is not known
            raise StorageError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        self.left = int(self.sent.get("content-length", 0))
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


def load_signers(given: list[str]) -> dict[str, Any]:
    """`EMAIL=public_key.pem` words as e-mail to key."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pairs = (word.partition("=") for word in given)
    return {email: load_pem_public_key(Path(path).read_bytes()) for email, _, path in pairs}
