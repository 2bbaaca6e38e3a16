"""An upload goes on after its client, and after the whole stack, was killed."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import start_stack, stop_stack
from tools.bench import write_png

ROOT = Path(__file__).parents[2]
SIZE = 48 << 20
#: Uploads a file, tells how far it is, and takes its time between two chunks.
SLOW = """
import os, sys, time
from pathlib import Path
from renderiq_client import Client

def tell(done, total):
    print(done, flush=True)
    time.sleep(0.2)

Client(sys.argv[1], os.environ["RENDERIQ_API_KEY"]).upload(Path(sys.argv[2]), progress=tell)
"""


def start_client(stack, picture):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, stack.base_url, str(picture)],
        cwd=ROOT / "clients" / "python",
        env=dict(os.environ) | {"RENDERIQ_API_KEY": stack.api_key},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until(client, kept):
    while int(client.stdout.readline()) < kept:
        pass


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    (process.stdout or process.stderr).close()


def test_killed_clients_and_a_killed_stack_leave_an_upload_that_goes_on_and_is_whole(tmp_path):
    data, picture = tmp_path / "data", tmp_path / "large.png"
    data.mkdir()
    write_png(picture, SIZE)
    state = tmp_path / "large.png.renderiq-upload.json"

    first = start_stack(data)
    client = start_client(first, picture)
    wait_until(client, 8 << 20)
    kill(client)
    assert state.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(state.read_text())) >= {"uploadId", "uri"}

    client = start_client(first, picture)
    wait_until(client, 24 << 20)
    kill(first.process)
    kill(client)
    time.sleep(1)

    second = start_stack(data)
    try:
        seen = []
        done = second.client().upload(picture, progress=lambda kept, _: seen.append(kept))
        assert seen[0] >= 24 << 20
        assert done["sizeBytes"] == picture.stat().st_size
        assert done["md5"] == base64.b64encode(hashlib.md5(picture.read_bytes()).digest()).decode()
        assert not state.exists()
    finally:
        stop_stack(second)
