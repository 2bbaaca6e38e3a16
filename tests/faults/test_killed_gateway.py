"""The functions are killed in the middle of a POST /renders; the same key again makes exactly one render."""

import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import start_stack, stop_stack
from tests.deliveries.conftest import until
from tests.support import request
from tools.local.parts import pid_of

SNAPSHOT = Path(__file__).parents[2] / "docs" / "samples" / "room_viewport.png"
KEY = "the-one-order"


def order(stack, upload):
    body = {"uploadId": upload, "prompt": "a room", "quality": "high"}
    return request(stack.base_url, "POST", "/renders", body=body, X_API_Key=stack.api_key, Idempotency_Key=KEY)


@contextmanager
def accounts_locked(stack):
    """The balances, locked by somebody else: a POST waits in the middle of its transaction, nothing committed."""
    conn = stack.connect()
    try:
        with conn.transaction():
            conn.rows("SELECT FROM credit_accounts FOR UPDATE")
            yield lambda: stack.sql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO renders%'"
            )
    finally:
        conn.close()


@contextmanager
def queue_stopped(stack):
    """The queue does not answer: a POST waits after its commit, before its answer."""
    tasks = pid_of("tools.local.tasks", stack.data)
    os.kill(tasks, signal.SIGSTOP)
    try:
        yield lambda: stack.sql("SELECT 1 FROM renders")
    finally:
        os.kill(tasks, signal.SIGCONT)


@pytest.mark.parametrize(("held_up", "made"), [(accounts_locked, 0), (queue_stopped, 1)])
def test_the_same_key_after_a_kill_half_way_makes_one_render_and_one_hold(tmp_path, held_up, made):
    data, picture = tmp_path / "data", tmp_path / "room.png"
    data.mkdir()
    picture.write_bytes(SNAPSHOT.read_bytes())
    first = start_stack(data)
    upload = first.client().upload(picture)["id"]
    lost = []

    def post():
        try:
            order(first, upload)
        except OSError as error:
            lost.append(error)

    thread = threading.Thread(target=post)
    with held_up(first) as waits:
        thread.start()
        until(waits, bool)
        os.kill(pid_of("tools.local.gateway", data), signal.SIGKILL)
        thread.join()
    assert lost, "the call was answered"
    working = "SELECT 1 FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'"
    until(lambda: first.sql(working), lambda rows: rows == [])
    assert len(first.sql("SELECT 1 FROM renders")) == made
    stop_stack(first)

    second = start_stack(data)
    try:
        answers = [order(second, upload) for _ in range(2)]
        assert [answer.status for answer in answers] == [202, 202]
        assert answers[0].json["id"] == answers[1].json["id"]
        assert [answer.headers["Idempotency-Replayed"] for answer in answers] == [("true" if made else None), "true"]
        assert second.client().wait(answers[0].json["id"], 60)["status"] == "succeeded"
        told = second.client().credits()
        assert (told["available"], told["held"], told["spent"]) == (996, 0, 4)
        kinds = second.sql("SELECT kind FROM credit_entries WHERE render_id IS NOT NULL ORDER BY id")
        assert [row["kind"] for row in kinds] == ["hold", "capture"]
    finally:
        stop_stack(second)
