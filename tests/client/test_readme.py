"""The client's README: a plugin author copies its blocks, so they run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def place(stack, tmp_path):
    """A folder with a picture, and an environment as the README has it."""
    shutil.copy(ROOT / "docs" / "samples" / "room_viewport.png", tmp_path / "viewport.png")
    (tmp_path / "python").symlink_to(sys.executable)
    told = {
        "RENDERIQ_BASE_URL": stack.base_url,
        "RENDERIQ_API_KEY": stack.api_key,
        "RENDERIQ_EMAIL": stack.email,
        "RENDERIQ_PASSWORD": stack.password,
        "PYTHONPATH": str(CLIENT),
    }
    return tmp_path, {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | told


def run(words, place, text):
    folder, env = place
    done = subprocess.run(words, cwd=folder, env=env, input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_blocks_run_one_after_the_other(stack, place):
    told = run([sys.executable, "-W", "error", "-"], place, "\n".join(blocks("python")))
    assert f"{stack.email} has" in told
    assert "still" in told
    assert "100 %" in told
    assert "invalid_request | " in told
    assert (place[0] / "rendered.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert (place[0] / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_the_shell_blocks_run(place):
    told = run(["sh", "-e"], place, "\n".join(blocks("sh")))
    assert '"purpose": "depth"' in told
    assert (place[0] / "rendered.jpg").read_bytes()[:2] == b"\xff\xd8"
