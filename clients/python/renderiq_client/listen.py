"""A webhook receiver on this machine: prints what arrives and says whether it is genuine."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Optional

from renderiq_client.client import Client
from renderiq_client.errors import RenderiqError, WebhookInvalid
from renderiq_client.webhooks import verify_webhook

EVENTS = ["render.completed", "render.failed", "render.canceled", "webhook.test"]
MAX_BYTES = 1 << 20
TIMEOUT_S = 10


class Receiver(ThreadingHTTPServer):
    """Listens on a port of this machine; `secret` may come later, but before the first delivery."""

    daemon_threads = True

    def __init__(self, port: int, *, as_json: bool) -> None:
        """`port` 0 is any free one."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.secret = ""
        self.as_json = as_json

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who went away is no error of ours."""
        print(f"renderiq: a request was cut short: {sys.exc_info()[1]}", file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    timeout = TIMEOUT_S

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BYTES:
            self._answer(413)
            return
        body = self.rfile.read(int(length))
        try:
            event = verify_webhook(self.server.secret, dict(self.headers), body)
        except WebhookInvalid as error:
            self._tell(None, str(error))
            self._answer(400)
            return
        self._tell(event, None)
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _tell(self, event: Optional[dict[str, Any]], problem: Optional[str]) -> None:
        """A line for each delivery. What is not verified is not shown: a stranger wrote it."""
        message_id = self.headers.get("webhook-id")
        if self.server.as_json:
            line = json.dumps(
                {"verified": problem is None, "problem": problem, "webhookId": message_id, "event": event}
            )
        else:
            told = f"✗ refused: {problem}" if event is None else f"✓ {event['type']:<17} {_subject(event)}"
            line = f"  {time.strftime('%H:%M:%S')}  {told}"
        print(line, flush=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Each delivery has its own line."""


def _subject(event: dict[str, Any]) -> str:
    data = event.get("data") or {}
    return " ".join(str(data[name]) for name in ("id", "status") if data.get(name))


@contextmanager
def registered(client: Client, url: str, events: list[str]) -> Iterator[str]:
    """The secret of a webhook that exists as long as the block runs."""
    webhook = client.register_webhook(url, events, "renderiq_client webhooks listen")
    try:
        yield webhook["secret"]
    finally:
        try:
            client.delete_webhook(webhook["id"])
        except RenderiqError as error:
            print(f"renderiq: the webhook {webhook['id']} is still there: {error}", file=sys.stderr)
