"""The whole stack is killed in the middle of a render; nothing is lost, nothing is doubled."""

import os
import signal
import time
from pathlib import Path

from renderiq_client import Client
from tests.conftest import start_stack, stop_stack

SNAPSHOT = Path(__file__).parents[2] / "docs" / "samples" / "room_viewport.png"


def processes_of(data):
    """The processes that name the data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(data).encode() in command:
                found.append(command)
    return found


def test_a_render_whose_stack_was_killed_finishes_after_a_restart_and_is_charged_once(tmp_path):
    data, picture = tmp_path / "data", tmp_path / "room.png"
    data.mkdir()
    picture.write_bytes(SNAPSHOT.read_bytes())
    first = start_stack(data)
    client = Client(first.base_url, first.api_key)
    order = client.render(client.upload(picture)["id"], "a room", quality="high")
    while client.call("GET", f"/renders/{order['id']}")["status"] == "queued":
        time.sleep(0.05)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    first.process.stderr.close()
    time.sleep(1)
    assert processes_of(data) == []

    second = start_stack(data)
    try:
        assert second.base_url == first.base_url
        client = Client(second.base_url, second.api_key)
        render = client.wait(order["id"], 90)
        assert (render["status"], render["cost"]) == ("succeeded", {"quoted": 4, "charged": 4})
        credits = client.credits()
        assert (credits["available"], credits["held"], credits["spent"]) == (996, 0, 4)
    finally:
        stop_stack(second)
