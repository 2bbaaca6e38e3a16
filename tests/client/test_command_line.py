"""The reference client's command line, against the running stack."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(stack, *words, key=None):
    return subprocess.run(
        [sys.executable, "-m", "renderiq_client", "--base-url", stack.base_url, "--json", *words],
        cwd=ROOT / "clients" / "python",
        env=dict(os.environ) | {"RENDERIQ_API_KEY": key or stack.api_key},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_picture_is_rendered_and_saved_beside_it(stack, tmp_path):
    picture = shutil.copy(ROOT / "docs" / "samples" / "room_viewport.png", tmp_path / "room.png")
    done = run(stack, "render", str(picture), "--prompt", "a room", "--quality", "draft")
    assert done.returncode == 0, done.stderr
    assert "upload 100 %" in done.stderr
    assert json.loads(done.stdout)["savedTo"] == str(tmp_path / "room-rendered.jpg")
    assert (tmp_path / "room-rendered.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["room-rendered.jpg", "room.png"]


def test_who_one_is_and_what_is_left_are_told(stack):
    assert json.loads(run(stack, "whoami").stdout)["user"]["email"] == stack.email
    assert json.loads(run(stack, "credits").stdout)["granted"] == 1000


def test_a_refusal_is_one_clear_line_without_the_key(stack):
    key = "rq_sk_test_" + "x" * 39
    done = run(stack, "credits", key=key)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("renderiq: 401 invalid_key")
    assert key not in done.stderr
