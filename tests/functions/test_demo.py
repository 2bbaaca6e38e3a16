"""What `make demo` runs holds."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_holds_from_sign_in_to_the_downloaded_picture(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo", "--data", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything held" in done.stdout
    assert (tmp_path / "pictures" / "rendered.jpg").stat().st_size > 10_000
