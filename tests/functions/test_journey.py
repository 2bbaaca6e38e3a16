"""A plugin's whole journey, over HTTP, without a client library."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
from standardwebhooks import Webhook

from tests.support import exchange, request

SNAPSHOT = Path(__file__).parents[2] / "docs" / "samples" / "room_viewport.png"


@pytest.fixture
def receiver():
    """A webhook receiver; what it got is on its queue."""
    got = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.put((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks", got
    server.shutdown()
    thread.join()
    server.server_close()


def without_urls(render):
    """Those are signed for an hour, which may end in between."""
    files = [{k: v for k, v in f.items() if k not in ("url", "expiresAt")} for f in render["output"]["files"]]
    return render | {"output": render["output"] | {"files": files}}


def upload(stack, auth, picture):
    made = request(
        stack.base_url,
        "POST",
        "/uploads",
        body={
            "fileName": "room.png",
            "contentType": "image/png",
            "sizeBytes": len(picture),
            "purpose": "snapshot",
        },
        **auth,
    )
    assert made.status == 201, made.body
    transfer = made.json["transfer"]
    status, headers, _ = exchange("POST", transfer["url"], headers=transfer["headers"])
    assert status == 201
    session = headers["Location"]
    half = transfer["chunkMultipleBytes"]
    status, headers, _ = exchange(
        "PUT", session, picture[:half], {"Content-Range": f"bytes 0-{half - 1}/{len(picture)}"}
    )
    assert (status, headers["Range"]) == (308, f"bytes=0-{half - 1}")
    rest = {"Content-Range": f"bytes {half}-{len(picture) - 1}/{len(picture)}"}
    assert exchange("PUT", session, picture[half:], rest)[0] == 200
    done = request(stack.base_url, "POST", f"/uploads/{made.json['id']}/complete", **auth)
    assert done.status == 200, done.body
    assert (done.json["width"], done.json["height"]) == (1280, 800)
    return made.json["id"]


def test_a_viewport_picture_goes_in_and_a_rendered_one_and_a_signed_webhook_come_out(stack, receiver):
    url, got = receiver
    owner = {"Authorization": f"Bearer {stack.api_key}"}
    key = request(
        stack.base_url,
        "POST",
        "/keys",
        body={
            "name": "plugin",
            "scopes": ["uploads:write", "renders:write", "renders:read", "webhooks:write", "credits:read"],
        },
        **owner,
    ).json["key"]
    auth = {"Authorization": f"Bearer {key}", "User-Agent": "Renderiq-Plugin/SketchUp/1.2.0"}
    webhook = request(
        stack.base_url,
        "POST",
        "/webhooks/register",
        body={"url": url, "events": ["render.completed"]},
        **auth,
    )
    assert webhook.status == 201, webhook.body
    before = request(stack.base_url, "GET", "/credits", **auth).json
    upload_id = upload(stack, auth, SNAPSHOT.read_bytes())

    order = {"uploadId": upload_id, "prompt": "a bright room", "callbackUrl": url}
    idempotent = {"Idempotency-Key": str(uuid4())}
    made = request(stack.base_url, "POST", "/renders", body=order, **auth, **idempotent)
    assert made.status == 202, made.body
    again = request(stack.base_url, "POST", "/renders", body=order, **auth, **idempotent)
    assert (again.status, again.json["id"], again.headers["Idempotency-Replayed"]) == (
        202,
        made.json["id"],
        "true",
    )

    done = request(stack.base_url, "GET", made.headers["Location"], Prefer="wait=30", **auth)
    assert done.json["status"] == "succeeded", done.body
    assert done.json["metadata"] == {
        "sourcePlatform": "sketchup",
        "pluginVersion": "1.2.0",
        "userAgent": "Renderiq-Plugin/SketchUp/1.2.0",
        "callbackUrl": url,
    }
    unchanged = request(stack.base_url, "GET", made.headers["Location"], If_None_Match=done.headers["ETag"], **auth)
    assert (unchanged.status, unchanged.body) == (304, b"")

    after = request(stack.base_url, "GET", "/credits", **auth).json
    assert (before["available"] - after["available"], after["spent"] - before["spent"], after["held"]) == (
        2,
        2,
        0,
    )

    headers, body = got.get(timeout=30)
    Webhook(webhook.json["secret"]).verify(body, headers)
    event = json.loads(body)
    assert event["type"] == "render.completed"
    assert without_urls(event["data"]) == without_urls(done.json)
    status, headers, picture = exchange("GET", event["data"]["output"]["files"][0]["url"])
    assert (status, len(picture)) == (200, event["data"]["output"]["files"][0]["bytes"])
