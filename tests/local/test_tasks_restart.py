"""Nothing is lost when the stand-in is killed, and nothing of it is left when its supervisor ends."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import pytest
import requests
from google.api_core import exceptions
from google.cloud.tasks_v2.types import Queue

from tests.local.tasks_stand_in import EMAIL, FAST_RETRY, ROOT, StandIn, queue_name, wait_until


def _declared(receiver, **settings):
    override = {"scheme": "HTTP", "host": "127.0.0.1", "port": str(receiver.port)}
    oidc = {"serviceAccountEmail": EMAIL, "audience": "a"}
    target = {"uriOverride": override, "httpMethod": "POST", "oidcToken": oidc}
    return {"name": queue_name("q"), "httpTarget": target, "retryConfig": FAST_RETRY, **settings}


def test_after_a_sigkill_what_was_in_flight_is_sent_again_and_the_rest_for_the_first_time(tmp_path, receiver):
    receiver.delay_s = 30
    stand_in = StandIn(tmp_path, [_declared(receiver, rateLimits={"maxConcurrentDispatches": 2})])
    made = [stand_in.add("q", "https://tasks.invalid/") for _ in range(6)]
    receiver.wait_for(2)
    stand_in.kill()
    in_flight = {each.task for each in receiver.got}
    receiver.delay_s = 0
    receiver.got.clear()
    stand_in.start([_declared(receiver)])
    stand_in.wait_empty("q")
    counts = {each.task: each.headers["x-cloudtasks-taskretrycount"] for each in receiver.wait_for(6)}
    assert set(counts) == {task.name.rpartition("/")[2] for task in made}
    assert {task for task, count in counts.items() if count == "1"} == in_flight
    stand_in.stop()


def test_schedules_names_attempts_pauses_and_queues_outlive_a_sigkill(tmp_path, receiver):
    receiver.status = 500
    stand_in = StandIn(tmp_path, [_declared(receiver)])
    stand_in.make_queue("made-later")
    due = datetime.now(UTC) + timedelta(hours=1)
    stand_in.add("made-later", receiver.url, schedule_time=due, name=f"{queue_name('made-later')}/tasks/a")
    slow = {"min_backoff": "60s", "max_backoff": "60s"}
    failed = stand_in.add("q", "https://tasks.invalid/", retry_config=slow)
    shown = lambda: stand_in.client.get_task(name=failed.name)  # noqa: E731
    wait_until(lambda: shown().response_count == 1, 5, lambda: "no response is counted")
    before = shown()
    stand_in.client.pause_queue(name=queue_name("q"))
    stand_in.kill()
    stand_in.start([_declared(receiver, rateLimits={"maxConcurrentDispatches": 7})])
    assert shown() == before
    declared = stand_in.client.get_queue(name=queue_name("q"))
    assert (declared.state, declared.rate_limits.max_concurrent_dispatches) == (Queue.State.PAUSED, 7)
    kept = stand_in.client.get_task(name=f"{queue_name('made-later')}/tasks/a")
    assert abs(kept.schedule_time.timestamp() - due.timestamp()) < 0.001
    with pytest.raises(exceptions.Conflict):
        stand_in.add("made-later", receiver.url, name=kept.name)
    stand_in.stop()


def test_killed_again_and_again_while_it_works_it_delivers_every_task(tmp_path, receiver):
    receiver.delay_s = 0.02
    stand_in = StandIn(tmp_path, [_declared(receiver, rateLimits={"maxConcurrentDispatches": 4})])
    wanted = set()
    for _ in range(3):
        wanted |= {stand_in.add("q", "https://tasks.invalid/").name.rpartition("/")[2] for _ in range(30)}
        stand_in.kill()
        stand_in.start([_declared(receiver)])
    stand_in.wait_empty("q")
    assert {each.task for each in receiver.got} == wanted
    stand_in.stop()


def test_it_ends_when_its_input_does_and_says_nothing_more(tmp_path, receiver):
    stand_in = StandIn(tmp_path, [_declared(receiver)])
    began = time.monotonic()
    assert stand_in.stop() == ""
    assert time.monotonic() - began < 1
    assert stand_in.process.returncode == 0


def test_a_queue_that_the_service_would_refuse_is_told_at_the_start(tmp_path):
    StandIn(tmp_path).stop()
    (tmp_path / "queues.json").write_text('[{"name": "q"}]')
    flags = ["--port", "0", "--data", "t.sqlite", "--queues", "queues.json", "--issuer-key", "key.pem"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.local.tasks", *flags, "--issuer-email", EMAIL],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "queues.json: Queue name 'q' is malformed\n"


def test_when_it_can_send_no_more_it_ends(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.make_queue("q")
    with closing(sqlite3.connect(tmp_path / "tasks.sqlite")) as file:
        file.execute("DROP TABLE queued_tasks")
    # A change of the queues makes it look at once; it may end before it answers.
    with suppress(exceptions.GoogleAPICallError, requests.RequestException):
        stand_in.client.pause_queue(name=queue_name("q"))
    assert stand_in.process.wait(60) == 1
    assert "no such table" in stand_in.stop()
