"""Nothing is lost between a commit and its task."""

import json
import time
from pathlib import Path

from tests.conftest import start_stack, stop_stack
from tests.support import let_leases_end, time_of
from tools.local.parts import Part

SNAPSHOT = Path(__file__).parents[2] / "docs" / "samples" / "room_viewport.png"


def test_a_render_that_was_committed_while_the_queue_was_down_is_rendered_once_it_is_back(tmp_path):
    data, picture = tmp_path / "data", tmp_path / "room.png"
    data.mkdir()
    picture.write_bytes(SNAPSHOT.read_bytes())
    first = start_stack(data)
    upload = first.client().upload(picture)
    Part("tasks", data, first.ports["tasks"]).kill()
    order = first.client().render(upload["id"], "a room", quality="draft")
    assert order["status"] == "queued"
    ordered = time_of(first)
    first.process.kill()
    first.process.wait()
    first.process.stderr.close()

    second = start_stack(data)
    try:
        let_leases_end(second, ordered)
        assert second.client().wait(order["id"], 60)["status"] == "succeeded"
        assert second.client().credits()["spent"] == 1
    finally:
        stop_stack(second)


def test_a_queue_that_lost_everything_is_filled_again(tmp_path):
    data, picture = tmp_path / "data", tmp_path / "room.png"
    data.mkdir()
    picture.write_bytes(SNAPSHOT.read_bytes())
    first = start_stack(data)
    orders = []
    upload = first.client().upload(picture)
    for _ in range(6):
        orders.append(first.client().render(upload["id"], "a room", quality="draft")["id"])
    killed = time_of(first)
    first.process.kill()
    first.process.wait()
    first.process.stderr.close()
    time.sleep(1)
    for file in data.glob("tasks.sqlite*"):
        file.unlink()

    second = start_stack(data)
    try:
        let_leases_end(second, killed)
        ended = [second.client().wait(order, 90) for order in orders]
        assert {render["status"] for render in ended} == {"succeeded"}
        credits = second.client().credits()
        assert (credits["spent"], credits["held"], credits["available"]) == (6, 0, 994)
        entries = second.sql("SELECT kind, count(*) AS n FROM credit_entries GROUP BY kind")
        assert {row["kind"]: row["n"] for row in entries} == {"grant": 1, "hold": 6, "capture": 6}
        assert json.loads((data / "stack.json").read_text())["baseUrl"] == second.base_url
    finally:
        stop_stack(second)
