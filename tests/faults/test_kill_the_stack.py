"""The whole stack is killed in the middle of a render; nothing is lost, nothing is doubled."""

import signal
import time
from pathlib import Path

from standardwebhooks import Webhook

from tests.conftest import start_stack, stop_stack
from tests.deliveries.conftest import until
from tests.local.serving import descendants, gone_within_a_second
from tests.receiver import Receiver
from tests.support import let_leases_end, time_of

SNAPSHOT = Path(__file__).parents[2] / "docs" / "samples" / "room_viewport.png"


def test_a_render_whose_stack_was_killed_finishes_after_a_restart_and_is_told_and_charged_once(tmp_path):
    data, picture = tmp_path / "data", tmp_path / "room.png"
    data.mkdir()
    picture.write_bytes(SNAPSHOT.read_bytes())
    receiver = Receiver()
    first = start_stack(data)
    client = first.client()
    webhook = client.register_webhook(receiver.url, ["render.completed", "render.failed"])
    order = client.render(client.upload(picture)["id"], "a room", quality="high")
    while client.call("GET", f"/renders/{order['id']}")["status"] == "queued":
        time.sleep(0.05)
    killed, family = time_of(first), descendants(first.process.pid)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    first.process.stderr.close()
    assert gone_within_a_second(family) == {}

    second = start_stack(data)
    try:
        assert second.base_url == first.base_url
        let_leases_end(second, killed)
        client = second.client()
        render = client.wait(order["id"], 90)
        assert (render["status"], render["cost"]) == ("succeeded", {"quoted": 4, "charged": 4})
        credits = client.credits()
        assert (credits["available"], credits["held"], credits["spent"]) == (996, 0, 4)
        until(receiver.got.qsize, bool)
        got = receiver.taken()
        events = [Webhook(webhook["secret"]).verify(body, headers) for _, headers, body in got]
        assert {(event["type"], event["data"]["id"]) for event in events} == {("render.completed", order["id"])}
        assert len({headers["webhook-id"] for _, headers, _ in got}) == 1
    finally:
        stop_stack(second)
        receiver.stop()
