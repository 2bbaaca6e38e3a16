"""One local port for every function: what the load balancer and Cloud Run are in the cloud.

Dispatches by method and path from the endpoint table, as the URL map does; what matches nothing goes to the
`fallback` function. Internal functions are called only with a valid token of the tasks account, whose signature is
then replaced as Cloud Run replaces it.

What differs from the load balancer: no TLS and no HTTP/2; leading slashes of a path count as one; a percent-encoded
path is matched decoded, where the URL map compares it as it was sent; headers may have 256 KiB instead of 64; what is
no HTTP is refused in plain text, as both do. A line break in a path is answered by Flask's own page, here and there.
"""

import argparse
import json
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from common.routing import pattern
from tools.local.identity import InvalidToken, Issuer
from tools.local.processes import die_with_parent

THREADS = 48
#: Idle ones too; above it nobody is answered.
MAX_CONNECTIONS = 1000
#: Well above what a function accepts, so that the function is the one to refuse.
MAX_BODY_BYTES = 64 << 20
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Gateway:
    """A WSGI application of all functions in `root`, each loaded by functions-framework on its first request."""

    def __init__(self, table: list[dict[str, Any]], root: Path, issuer: Issuer) -> None:
        """`table` as `terraform/functions.json` holds it."""
        self._root = root
        self._issuer = issuer
        self._apps: dict[str, App] = {}
        self._loading = threading.Lock()
        # Literal paths before templates, as the URL map orders its rules.
        self._rows = sorted((row for row in table if row["method"] != "*"), key=lambda row: row["path"].count("{"))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        client = environ["REMOTE_ADDR"]
        sent = environ.get("HTTP_X_FORWARDED_FOR")
        # The load balancer appends the client's address, then its own.
        environ["HTTP_X_FORWARDED_FOR"] = ", ".join(part for part in (sent, client, "127.0.0.1") if part)
        row = self._find(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if row is None:
            return self._app("fallback")(environ, start_response)
        if row["internal"] and not self._admit(row["name"], environ):
            start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        return self._app(row["name"])(environ, start_response)

    def load_all(self) -> None:
        """Load every function now instead of on its first request."""
        for row in self._rows:
            self._app(row["name"])

    def _find(self, method: str, path: str) -> dict[str, Any] | None:
        matching = (row for row in self._rows if row["method"] == method and pattern(row["path"]).fullmatch(path))
        return next(matching, None)

    def _admit(self, name: str, environ: dict[str, Any]) -> bool:
        """What Cloud Run's IAM does: verify the caller's token, and take its signature away."""
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        try:
            self._issuer.verify(token, f"renderiq-{name.replace('_', '-')}")
        except InvalidToken:
            return False
        environ["HTTP_AUTHORIZATION"] = f"{scheme} {self._issuer.strip_signature(token)}"
        return True

    def _app(self, name: str) -> App:
        with self._loading:
            if name not in self._apps:
                from functions_framework import create_app

                source = self._root / name / "main.py"
                self._apps[name] = create_app("main", str(source), "http")  # type: ignore[no-untyped-call]
            return self._apps[name]


def main() -> None:
    """Serve until the supervisor ends."""
    parser = argparse.ArgumentParser(prog="python -m tools.local.gateway", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--functions", type=Path, required=True)
    parser.add_argument("--issuer-key", type=Path, required=True)
    parser.add_argument("--issuer-email", required=True)
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    if arguments.with_parent:
        die_with_parent()
    logging.getLogger("waitress").setLevel(logging.ERROR)
    table = json.loads(arguments.table.read_text())["functions"]
    issuer = Issuer(arguments.issuer_key.read_text(), arguments.issuer_email)
    gateway = Gateway(table, arguments.functions, issuer)

    threading.Thread(target=gateway.load_all, name="load", daemon=True).start()
    _server(gateway, arguments.port).run()


def _server(gateway: Gateway, port: int) -> Any:
    """A waitress server that does not wait for the body of a request that has none.

    waitress 3.0.2 answers `Expect: 100-continue` and then reads on, body or not.
    """
    from waitress import create_server
    from waitress.channel import HTTPChannel
    from waitress.parser import HTTPRequestParser

    class Parser(HTTPRequestParser):  # type: ignore[misc]
        def parse_header(self, header_plus: bytes) -> None:
            super().parse_header(header_plus)
            if self.body_rcv is None:
                self.expect_continue = False

    class Channel(HTTPChannel):  # type: ignore[misc]
        parser_class = Parser

    server = create_server(
        gateway,
        host="127.0.0.1",
        port=port,
        threads=THREADS,
        connection_limit=MAX_CONNECTIONS,
        ident=None,
        max_request_body_size=MAX_BODY_BYTES,
        clear_untrusted_proxy_headers=False,
    )
    server.channel_class = Channel
    return server


if __name__ == "__main__":
    main()
