"""Renders by the gemini engine through the whole stack, the model's service being a local one; and results by a CDN."""

import base64
import hashlib
import io
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from PIL import Image

from tests.conftest import start_stack, stop_stack
from tests.engines.gemini_server import GeminiServer
from tests.functions.conftest import SAMPLES
from tests.functions.test_renders import Account

MODEL = "gemini-nano-banana-2.1"


@pytest.fixture(scope="module")
def server():
    running = GeminiServer()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def account(server, tmp_path_factory):
    data = tmp_path_factory.mktemp("gemini")
    running = start_stack(data, GEMINI_MODEL=MODEL, GEMINI_ENDPOINT=server.url, GCS_CDN_DOMAIN="cdn.renderiq.example")
    picture = data / "room.png"
    picture.write_bytes((SAMPLES / "room_viewport.png").read_bytes())
    yield Account(running, None, running.api_key, running.client().upload(picture)["id"])
    stop_stack(running)


def test_auto_is_the_model_where_one_is_configured_and_its_price_is_told(account):
    told = account.call("GET", "/credits").json
    assert set(told["enginePrices"]) == {"gemini", "studio"}
    assert told["prices"] == told["enginePrices"]["gemini"]
    done = account.finished(account.order().json["id"])
    assert (done["status"], done["cost"]["charged"]) == ("succeeded", told["prices"]["standard"])
    assert done["engine"] == {"name": "gemini", "version": MODEL, "ai": True, "deterministic": False}
    assert done["output"]["files"][0]["contentType"] == "image/png"
    assert account.finished(account.order(engine="studio").json["id"])["engine"]["name"] == "studio"


@pytest.mark.parametrize(
    ("prompt", "code"),
    [("BLOCKED-PROMPT", "content_blocked"), ("BLOCKED-IMAGE", "content_blocked"), ("TEXT-ONLY", "engine_no_output")],
)
def test_what_is_blocked_is_not_charged_and_not_worth_trying_again(account, prompt, code):
    before = account.credits()
    failed = account.finished(account.order(prompt=prompt, engine="gemini").json["id"])
    assert (failed["status"], failed["error"]["code"], failed["error"]["retryable"]) == ("failed", code, False)
    assert failed["cost"]["charged"] == 0
    assert account.credits() == before


def test_the_model_is_asked_for_what_was_ordered(server, account, tmp_path):
    """The depth pass is grey and the normal pass is not: each is sent by its name."""
    passes = {}
    for purpose in ("depth", "normal"):
        path = tmp_path / f"{purpose}.png"
        path.write_bytes((SAMPLES / f"room_{purpose}.png").read_bytes())
        passes[f"{purpose}UploadId"] = account.stack.client(account.key).upload(path, purpose)["id"]
    order = account.order(prompt="oak floor", style="scandinavian", seed=42, geometryFidelity=0, **passes)
    assert account.finished(order.json["id"])["status"] == "succeeded"
    asked = server.seen[-1][2]
    assert asked["generationConfig"]["seed"] == 42
    told, _, *rest = asked["contents"][0]["parts"]
    assert all(words in told["text"] for words in ("oak floor", "Style: scandinavian", "kept to 0 %"))
    assert [("depth" in part["text"], "normal" in part["text"]) for part in rest[::2]] == [(True, False), (False, True)]
    assert [is_grey(part["inlineData"]["data"]) for part in rest[1::2]] == [True, False]


def is_grey(data):
    red, green, blue = Image.open(io.BytesIO(base64.urlsafe_b64decode(data))).convert("RGB").resize((8, 8)).split()
    return red.tobytes() == green.tobytes() == blue.tobytes()


def test_a_result_is_read_through_the_cdn_whose_host_is_signed_and_stands_for_the_bucket(account):
    render = account.order(engine="studio", quality="draft", headers={"Prefer": "wait=30"}).json
    parts = urlsplit(render["output"]["files"][0]["url"])
    assert (parts.scheme, parts.netloc) == ("https", "cdn.renderiq.example")
    assert parts.path.startswith("/renders/")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    _verify(account.stack.data, parts, query)
    size = {"fileName": "a.png", "contentType": "image/png", "sizeBytes": 9, "purpose": "snapshot"}
    assert "cdn" not in account.call("POST", "/uploads", body=size).json["transfer"]["url"]


def _verify(data, parts, query):
    """The V4 signature over the request that the CDN would pass on, as Cloud Storage documents it."""
    unsigned = "&".join(sorted(p for p in parts.query.split("&") if not p.lower().startswith("x-goog-signature=")))
    canonical = "\n".join(["GET", parts.path, unsigned, f"host:{parts.netloc}\n", "host", "UNSIGNED-PAYLOAD"])
    scope = query["X-Goog-Credential"].partition("/")[2]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signed = "\n".join(["GOOG4-RSA-SHA256", query["X-Goog-Date"], scope, digest])
    key = serialization.load_pem_public_key((data / "storage-key.pub").read_bytes())
    key.verify(bytes.fromhex(query["X-Goog-Signature"]), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
