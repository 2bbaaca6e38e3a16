"""The gemini engine through the real SDK, against a local server that answers as the service documents."""

import base64
import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import config
from common.engines import EngineError, Job, choose, names
from tests.engines.gemini_server import GeminiServer

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "docs" / "samples"
MODEL = "gemini-nano-banana-2.1"


@pytest.fixture(scope="module")
def running():
    server = GeminiServer()
    yield server
    server.stop()


@pytest.fixture
def server(running, monkeypatch):
    """The server, and a process that is configured for it."""
    running.seen.clear()
    running.overloaded, running.slow_s = 0, 0.0
    for name, value in {
        "GEMINI_MODEL": MODEL, "GOOGLE_CLOUD_PROJECT": "a-project", "GEMINI_ENDPOINT": running.url,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    config.settings.cache_clear()
    yield running
    config.settings.cache_clear()


def render(prompt="a room", seconds=60.0, stages=None, **changes):
    whole = {
        "snapshot": (SAMPLES / "room_viewport.png").read_bytes(),
        "depth": None, "normal": None, "prompt": prompt, "style": None, "quality": "standard", "seed": 7,
        "geometry_fidelity": None, "deadline": time.monotonic() + seconds,
    }  # fmt: skip
    return choose("gemini").render(Job(**whole | changes), (stages if stages is not None else []).append)


def refused(prompt, seconds=60.0):
    with pytest.raises(EngineError) as caught:
        render(prompt, seconds)
    return caught.value.code, caught.value.retryable


def test_a_model_makes_the_picture_and_its_thumbnail_is_made_here(server):
    stages = []
    picture, thumbnail = render(stages=stages)
    assert stages == ["prepare", "generate", "finish"]
    assert (picture.role, picture.content_type, picture.width, picture.height) == ("picture", "image/png", 1280, 800)
    assert (thumbnail.content_type, thumbnail.width, thumbnail.height) == ("image/jpeg", 320, 200)
    sent = Image.open(SAMPLES / "room_viewport.png").convert("RGB")
    mirrored = np.asarray(Image.open(io.BytesIO(picture.data)), np.int16)[:, ::-1]
    assert np.abs(mirrored - np.asarray(sent, np.int16)).mean() < 3


def test_the_request_is_what_the_service_documents(server):
    depth = (SAMPLES / "room_depth.png").read_bytes()
    render("oak floor", depth=depth, style="scandinavian", quality="high", geometry_fidelity=80)
    ((path, headers, body),) = server.seen
    assert path == f"/v1beta1/projects/a-project/locations/global/publishers/google/models/{MODEL}:generateContent"
    assert {name.lower(): value for name, value in headers.items()}["authorization"].startswith("Bearer ")
    asked = body["generationConfig"]
    assert (asked["responseModalities"], asked["seed"]) == (["IMAGE"], 7)
    assert asked["imageConfig"] == {"aspectRatio": "3:2", "imageSize": "4K"}
    parts = body["contents"][0]["parts"]
    text = parts[0]["text"]
    assert "oak floor" in text
    assert "scandinavian" in text
    assert "80 %" in text
    assert [*map(list, parts)] == [["text"], ["inlineData"], ["text"], ["inlineData"]]
    assert "depth" in parts[2]["text"]


@pytest.mark.parametrize(("quality", "size"), [("draft", "1K"), ("standard", "2K"), ("high", "4K")])
def test_quality_sets_the_size_that_is_asked_for(server, quality, size):
    render(quality=quality)
    assert server.seen[0][2]["generationConfig"]["imageConfig"]["imageSize"] == size


@pytest.mark.parametrize(("fidelity", "told"), [(None, "100 %"), (0, "kept to 0 %"), (100, "100 %")])
def test_geometry_is_kept_unless_something_else_is_asked_for(server, fidelity, told):
    render(geometry_fidelity=fidelity)
    assert told in server.seen[0][2]["contents"][0]["parts"][0]["text"]


def test_the_last_picture_is_the_result_and_drafts_and_thoughts_are_not(server):
    assert Image.open(io.BytesIO(render("DRAFTS")[0].data)).getpixel((0, 0)) == (20, 0, 0)


def test_what_it_says_of_itself_is_the_model(server):
    info = choose("gemini").info
    assert (info.name, info.version, info.ai, info.deterministic) == ("gemini", MODEL, True, False)
    assert names() == ["gemini", "studio"]
    assert choose("auto") is choose("gemini")


@pytest.mark.parametrize(
    ("prompt", "code", "retryable", "requests"),
    [
        ("BLOCKED-PROMPT", "content_blocked", False, 1),
        ("NOT-TOLD-WHY", "content_blocked", False, 1),
        ("BLOCKED-IMAGE", "content_blocked", False, 1),
        ("UNSAFE", "content_blocked", False, 1),
        ("TEXT-ONLY", "engine_no_output", False, 1),
        ("NO-IMAGE", "engine_no_output", False, 1),
        ("EMPTY", "engine_no_output", False, 1),
        ("NOT-A-PICTURE", "engine_no_output", True, 1),
        ("BUSY", "engine_busy", True, 3),
        ("REFUSED", "engine_refused", False, 1),
        ("FORBIDDEN", "engine_unavailable", True, 1),
        ("BROKEN", "engine_unavailable", True, 1),
        ("LATE", "engine_timeout", True, 1),
        ("SLOW", "engine_timeout", True, 1),
        ("LARGE", "engine_refused", False, 1),
    ],
)
def test_what_is_no_picture_is_told_by_its_code_and_only_busy_is_tried_again(server, prompt, code, retryable, requests):
    assert refused(prompt) == (code, retryable)
    assert len(server.seen) == requests


def test_a_service_that_is_overloaded_twice_is_asked_a_third_time(server):
    server.overloaded = 2
    assert render()[0].role == "picture"
    assert len(server.seen) == 3


def test_a_slow_model_ends_with_the_deadline(server):
    server.slow_s = 5
    started = time.monotonic()
    assert refused("a room", seconds=6) == ("engine_timeout", True)
    assert time.monotonic() - started < 4
    assert len(server.seen) == 1


def test_a_deadline_that_has_passed_asks_nobody(server):
    assert refused("a room", seconds=1) == ("engine_timeout", True)
    assert server.seen == []


def test_a_service_that_cannot_be_reached_is_unavailable(server, monkeypatch):
    monkeypatch.setenv("GEMINI_ENDPOINT", "http://127.0.0.1:1")
    config.settings.cache_clear()
    assert refused("a room") == ("engine_unavailable", True)


def test_a_large_snapshot_is_reduced_before_it_is_sent(server):
    out = io.BytesIO()
    Image.effect_noise((3000, 1500), 80).convert("RGB").save(out, "PNG")
    render(snapshot=out.getvalue())
    sent = server.seen[0][2]["contents"][0]["parts"][1]["inlineData"]["data"]
    assert Image.open(io.BytesIO(base64.urlsafe_b64decode(sent))).size == (2048, 1024)


def test_a_snapshot_that_cannot_be_decoded_is_sent_to_nobody(server):
    with pytest.raises(EngineError, match="snapshot_unreadable"):
        render(snapshot=b"nothing")
    assert server.seen == []


def test_the_sdk_is_not_imported_unless_the_engine_is_chosen():
    program = f"""
import sys, time
from common.engines import Job, choose, names
assert names() == ["gemini", "studio"]
picture = open({str(SAMPLES / "room_viewport.png")!r}, "rb").read()
job = Job(picture, None, None, "a room", None, "draft", 0, None, time.monotonic() + 60)
choose("studio").render(job, lambda stage: None)
print([name for name in sys.modules if name.startswith(("google.genai", "google.auth", "httpx", "grpc"))])
"""
    env = {"GEMINI_MODEL": MODEL, "GOOGLE_CLOUD_PROJECT": "a-project"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "[]", done.stderr
