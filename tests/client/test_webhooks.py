"""Webhooks as a receiver verifies them, beside the public library, and the command that listens for them."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from common.schemas.events import EVENTS
from renderiq_client import WebhookInvalid, listen, verify_webhook

CLIENT = Path(__file__).parents[2] / "clients" / "python"
SECRET, OTHER = "whsec_" + "c2VjcmV0" * 4, "whsec_" + "b3RoZXJz" * 4
BODY = json.dumps({"type": "webhook.test", "data": {"id": "0198", "text": "ß"}}).encode()


def signed(body=BODY, *, secrets=(SECRET,), age_s=0):
    """Headers as the public library signs them."""
    moment = datetime.fromtimestamp(time.time() - age_s, UTC)
    signatures = [Webhook(secret).sign("msg_1", moment, body.decode()) for secret in secrets]
    stamp = str(int(moment.timestamp()))
    return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": " ".join(signatures)}


def test_what_the_public_library_signs_is_genuine():
    assert verify_webhook(SECRET, signed(), BODY) == json.loads(BODY)
    capitals = {name.title(): value for name, value in signed().items()}
    assert verify_webhook(SECRET, capitals, BODY) == json.loads(BODY)


def test_during_a_rotation_either_secret_verifies():
    headers = signed(secrets=(OTHER, SECRET))
    assert verify_webhook(SECRET, headers, BODY) == verify_webhook(OTHER, headers, BODY)


@pytest.mark.parametrize(
    ("secret", "headers", "body"),
    [
        (OTHER, lambda: signed(), BODY),
        (SECRET, lambda: signed(), BODY + b" "),
        (SECRET, lambda: signed() | {"webhook-id": "msg_2"}, BODY),
        (SECRET, lambda: signed() | {"webhook-timestamp": str(int(time.time()) - 1)}, BODY),
        (SECRET, lambda: signed(age_s=400), BODY),
        (SECRET, lambda: signed(age_s=-400), BODY),
        (SECRET, lambda: signed() | {"webhook-timestamp": "now"}, BODY),
        (SECRET, lambda: signed() | {"webhook-timestamp": "9" * 400}, BODY),
        (SECRET, lambda: signed() | {"webhook-signature": ""}, BODY),
        (SECRET, lambda: signed() | {"webhook-signature": "v1,ß"}, BODY),
        (SECRET, dict, BODY),
    ],
)
def test_what_is_not_genuine_is_refused(secret, headers, body):
    """`headers` makes them: their time is the test's."""
    with pytest.raises(WebhookInvalid):
        verify_webhook(secret, headers(), body)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64", "whsec_ß", SECRET.replace("whsec_", "secret")])
def test_what_is_no_secret_is_told_as_such(secret):
    with pytest.raises(WebhookInvalid, match="the secret is not one"):
        verify_webhook(secret, signed(), BODY)


def test_the_tolerance_is_the_callers_choice():
    assert verify_webhook(SECRET, signed(age_s=400), BODY, tolerance_s=900)
    with pytest.raises(WebhookInvalid, match="timestamp"):
        verify_webhook(SECRET, signed(age_s=200), BODY, tolerance_s=100)


def test_every_event_there_is_is_listened_for():
    assert set(listen.EVENTS) == set(EVENTS)


class Listener:
    """`webhooks listen` in a process of its own."""

    def __init__(self, *words, env):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "renderiq_client", *words],
            cwd=CLIENT,
            env=dict(os.environ) | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        told = self.process.stderr.readline()
        assert "listening on" in told, told + self.process.stderr.read()
        self.url = told.split("listening on ")[1].split(";")[0]

    def post(self, body, headers):
        conn = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=5)
        try:
            conn.request("POST", "/", body, headers)
            return conn.getresponse().status
        finally:
            conn.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Whatever the test found, nothing of it stays."""
        self.process.kill()
        self.process.communicate()

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        told, errors = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, errors
        return told


def test_listening_tells_what_is_genuine_and_what_is_not(tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    with Listener("webhooks", "listen", "--secret-file", str(tmp_path / "secret"), env={}) as listener:
        assert listener.post(BODY, signed()) == 204
        assert listener.post(BODY, signed(secrets=(OTHER,))) == 400
        assert listener.post(b"", {}) == 400
        genuine, forged, nothing = listener.end().splitlines()
        assert "✓ webhook.test" in genuine
        assert "✗ refused: no signature fits" in forged
        assert "✗ refused: a header is missing" in nothing


def test_what_a_stranger_sends_is_not_shown_and_not_waited_for(tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    with Listener("--json", "webhooks", "listen", "--secret-file", str(tmp_path / "secret"), env={}) as listener:
        for length in (str((1 << 20) + 1), "x", "-1", "²"):
            assert listener.post(b"", {"Content-Length": length}) == 413
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", urlsplit(listener.url).port), 5):
            pass
        assert listener.post(BODY, signed(secrets=(OTHER,))) == 400
        (told,) = map(json.loads, listener.end().splitlines())
        assert (told["verified"], told["event"]) == (False, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_listening_registers_a_webhook_for_itself_and_deletes_it_at_the_end(stack, tmp_path, number):
    env = {"RENDERIQ_API_KEY": stack.api_key, "RENDERIQ_BASE_URL": stack.base_url}
    with Listener("--json", "webhooks", "listen", "--register", "--events", "render.completed", env=env) as listener:
        assert listener.url in [webhook["url"] for webhook in stack.client().list_webhooks()]
        picture = tmp_path / "room.png"
        picture.write_bytes((CLIENT.parents[1] / "docs" / "samples" / "room_viewport.png").read_bytes())
        client = stack.client()
        order = client.render(client.upload(picture)["id"], "a room", quality="draft")
        line = json.loads(listener.process.stdout.readline())
        assert (line["verified"], line["event"]["data"]["id"]) == (True, order["id"])
        listener.end(number)
        assert listener.url not in [webhook["url"] for webhook in client.list_webhooks()]
