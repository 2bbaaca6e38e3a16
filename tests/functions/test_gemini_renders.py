"""Renders by the gemini engine through the whole stack, the model's service being a local one; and results by a CDN."""

import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.conftest import start_stack, stop_stack
from tests.engines.gemini_server import GeminiServer
from tests.functions.conftest import SAMPLES
from tests.functions.test_renders import Account

MODEL = "gemini-nano-banana-2.1"


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    server, data = GeminiServer(), tmp_path_factory.mktemp("gemini")
    running = start_stack(data, GEMINI_MODEL=MODEL, GEMINI_ENDPOINT=server.url, GCS_CDN_DOMAIN="cdn.renderiq.example")
    picture = data / "room.png"
    picture.write_bytes((SAMPLES / "room_viewport.png").read_bytes())
    yield Account(running, None, running.api_key, running.client().upload(picture)["id"])
    stop_stack(running)
    server.stop()


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
