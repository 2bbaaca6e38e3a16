"""What the documents tell to type does what they say."""

import os
import re
import shutil
import subprocess

import pytest
from PIL import Image

from common.domain.prices import PRICES
from tests.conftest import ROOT
from tests.functions.conftest import SAMPLES

TEXT = (ROOT / "docs" / "renders.md").read_text()


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl to type it into")
def test_the_curl_example_makes_a_picture(stack, tmp_path):
    (script,) = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    env = {"BASE": stack.base_url, "KEY": stack.api_key, "PICTURE": str(SAMPLES / "room_viewport.png")}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=dict(os.environ) | env, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "succeeded"), done.stderr
    with Image.open(tmp_path / "picture.jpg") as picture:
        assert picture.size == (960, 600)


def test_the_prices_are_those_that_are_charged():
    for quality in ("draft", "standard", "high"):
        told = f"| {PRICES['studio'][quality]} | {PRICES['gemini'][quality]} |"
        (line,) = re.findall(rf"^\| `{quality}` .*$", TEXT, re.MULTILINE)
        assert line.endswith(told)


def test_every_error_code_of_a_render_is_in_the_table():
    told = set(re.findall(r"`(\w+)`", TEXT.partition("## When it fails")[2].partition("## Lists")[0]))
    sources = [*(ROOT / "common" / "engines").glob("*.py"), ROOT / "common" / "domain" / "render_task.py"]
    raised = {code for path in sources for code in re.findall(r'EngineError\(\s*"(\w+)"', path.read_text())}
    assert raised - told == set()
    assert {"expired", "worker_lost", "content_blocked"} <= told
