"""The Cloud Tasks stand-in, by the real client library and a real receiver."""

import json
import os
import queue
import signal
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport
from google.cloud.tasks_v2.types import HttpRequest, Task
from hypothesis import given
from hypothesis import strategies as st

from tools.local import identity
from tools.local.processes import Child
from tools.local.tasks.resources import backoff, exhausted

EMAIL = "tasks@example.iam.gserviceaccount.com"
QUEUE = "projects/p/locations/l/queues/work"


class Receiver:
    """A target that answers what it is told to, and keeps what it got."""

    def __init__(self):
        self.got = queue.Queue()
        self.answers = queue.Queue()
        self.at_once = self.most_at_once = 0
        self.pause_s = 0.0
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                time.sleep(outer.pause_s)
                with lock:
                    outer.at_once -= 1
                outer.got.put((time.time(), self.path, dict(self.headers), body))
                try:
                    status, headers = outer.answers.get_nowait()
                except queue.Empty:
                    status, headers = 200, {}
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def next(self, timeout=5):
        return self.got.get(timeout=timeout)

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Tasks:
    """A running stand-in with one queue whose target is the receiver."""

    def __init__(self, folder, receiver, **config):
        self.folder = folder
        self.key = identity.generate_key_pem()
        (folder / "key.pem").write_text(self.key)
        target = {
            "uriOverride": {"scheme": "HTTP", "host": "127.0.0.1", "port": str(receiver.port)}
            | {"pathOverride": {"path": "/work"}},
            "oidcToken": {"serviceAccountEmail": EMAIL, "audience": "the-worker"},
        }
        (folder / "queues.json").write_text(json.dumps([{"name": QUEUE, "httpTarget": target, **config}]))
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.start()
        self.client = CloudTasksClient(
            transport=CloudTasksRestTransport(
                host=f"127.0.0.1:{self.port}", url_scheme="http", credentials=AnonymousCredentials()
            )
        )

    def start(self):
        flags = ["--port", str(self.port), "--data", str(self.folder / "tasks.sqlite")]
        flags += ["--queues", str(self.folder / "queues.json")]
        flags += ["--issuer-key", str(self.folder / "key.pem"), "--issuer-email", EMAIL]
        self.child = Child("tasks", "tools.local.tasks", flags, self.folder / "log")
        self.child.wait_until(self.answers)

    def answers(self):
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        os.kill(self.child._process.pid, signal.SIGKILL)
        self.child.stop()

    def add(self, body=b"{}", *, name=None, at=None, **fields):
        request = HttpRequest(url="https://tasks.invalid/", body=body, headers={"Content-Type": "application/json"})
        task = Task(name=f"{QUEUE}/tasks/{name}" if name else "", http_request=request, schedule_time=at, **fields)
        return self.client.create_task(parent=QUEUE, task=task)


@pytest.fixture
def receiver():
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture
def make(tmp_path, receiver):
    """Starts a stand-in with a queue's configuration."""
    running = []

    def start(**config):
        running.append(Tasks(tmp_path, receiver, **config))
        return running[-1]

    yield start
    for tasks in running:
        tasks.child.stop()


FAST = {"retryConfig": {"minBackoff": "0.05s", "maxBackoff": "0.2s", "maxAttempts": 3}}


def test_a_task_goes_where_its_queue_says_with_the_services_headers(make, receiver):
    tasks = make()
    made = tasks.add(b'{"a": 1}', name="first")
    _, path, headers, body = receiver.next()
    assert (path, body) == ("/work", b'{"a": 1}')
    assert headers["X-CloudTasks-QueueName"] == "work"
    assert headers["X-CloudTasks-TaskName"] == made.name.rpartition("/")[2] == "first"
    assert (headers["X-CloudTasks-TaskRetryCount"], headers["X-CloudTasks-TaskExecutionCount"]) == ("0", "0")
    assert headers["Content-Type"] == "application/json"
    claims = identity.Issuer(tasks.key, EMAIL).verify(headers["Authorization"].partition(" ")[2], "the-worker")
    assert (claims["email"], claims["email_verified"]) == (EMAIL, True)


def test_a_task_waits_for_its_time(make, receiver):
    tasks = make()
    due = datetime.now(UTC) + timedelta(seconds=0.7)
    tasks.add(at=due)
    at, *_ = receiver.next()
    assert -0.01 <= at - due.timestamp() < 0.5


def test_a_used_name_stays_taken(make, receiver):
    tasks = make()
    tasks.add(name="once")
    receiver.next()
    time.sleep(0.2)
    with pytest.raises(Conflict):
        tasks.add(name="once")


def test_a_failed_task_is_tried_again_and_given_up_after_its_attempts(make, receiver):
    tasks = make(**FAST)
    for _ in range(5):
        receiver.answers.put((500, {}))
    tasks.add(name="fails")
    counts = [receiver.next()[2]["X-CloudTasks-TaskRetryCount"] for _ in range(3)]
    assert counts == ["0", "1", "2"]
    time.sleep(0.6)
    assert receiver.got.empty()
    with pytest.raises(NotFound):
        tasks.client.get_task(name=f"{QUEUE}/tasks/fails")


def test_a_retry_tells_the_previous_answer_and_waits_as_it_was_asked(make, receiver):
    tasks = make(**FAST)
    receiver.answers.put((503, {"Retry-After": "1"}))
    tasks.add()
    first, *_ = receiver.next()
    second, _, headers, _ = receiver.next()
    assert second - first >= 0.95
    assert headers["X-CloudTasks-TaskPreviousResponse"] == "503"
    assert headers["X-CloudTasks-TaskExecutionCount"] == "1"


def test_a_target_that_does_not_answer_in_time_is_tried_again(make, receiver):
    tasks = make(**FAST)
    receiver.pause_s = 16
    tasks.add(dispatch_deadline=timedelta(seconds=15))
    time.sleep(0.5)
    receiver.pause_s = 0
    # The second attempt's answer comes before the first one's, which nobody waits for any more.
    assert receiver.next(timeout=18)[2]["X-CloudTasks-TaskRetryCount"] == "1"


def test_no_more_than_allowed_are_in_flight(make, receiver):
    tasks = make(rateLimits={"maxConcurrentDispatches": 3})
    receiver.pause_s = 0.1
    for _ in range(12):
        tasks.add()
    for _ in range(12):
        receiver.next()
    assert receiver.most_at_once == 3


def test_the_rate_is_kept(make, receiver):
    tasks = make(rateLimits={"maxDispatchesPerSecond": 10, "maxBurstSize": 1})
    tasks.client.pause_queue(name=QUEUE)
    for _ in range(6):
        tasks.add()
    tasks.client.resume_queue(name=QUEUE)
    times = [receiver.next()[0] for _ in range(6)]
    assert 0.4 <= max(times) - min(times) < 2


def test_a_paused_queue_sends_nothing_until_it_is_resumed(make, receiver):
    tasks = make()
    tasks.client.pause_queue(name=QUEUE)
    tasks.add()
    time.sleep(0.4)
    assert receiver.got.empty()
    tasks.client.resume_queue(name=QUEUE)
    receiver.next()


def test_a_forced_task_runs_at_once_also_in_a_paused_queue(make, receiver):
    tasks = make()
    tasks.client.pause_queue(name=QUEUE)
    made = tasks.add(at=datetime.now(UTC) + timedelta(hours=1))
    tasks.client.run_task(name=made.name)
    receiver.next()


def test_a_purged_or_deleted_task_is_not_sent(make, receiver):
    tasks = make()
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    tasks.add(name="purged", at=soon)
    tasks.client.purge_queue(name=QUEUE)
    deleted = tasks.add(name="deleted", at=soon)
    assert [task.name for task in tasks.client.list_tasks(parent=QUEUE)] == [deleted.name]
    tasks.client.delete_task(name=deleted.name)
    time.sleep(0.8)
    assert receiver.got.empty()
    assert list(tasks.client.list_tasks(parent=QUEUE)) == []


def test_tasks_survive_that_the_service_is_killed_and_what_was_in_flight_is_sent_again(make, receiver):
    tasks = make()
    receiver.pause_s = 1
    tasks.add(name="in-flight")
    tasks.add(name="later", at=datetime.now(UTC) + timedelta(seconds=1))
    time.sleep(0.3)
    tasks.kill()
    receiver.pause_s = 0
    tasks.start()
    names = {receiver.next()[2]["X-CloudTasks-TaskName"] for _ in range(3)}
    assert names == {"in-flight", "later"}


@pytest.mark.parametrize(
    "fields",
    [
        {"at": datetime.now(UTC) + timedelta(days=31)},
        {"dispatch_deadline": timedelta(seconds=5)},
        {"name": "no spaces"},
        {"body": b"x" * (2 << 20)},
    ],
    ids=["too far ahead", "too short a deadline", "a malformed name", "too large"],
)
def test_what_the_service_refuses_is_refused(make, fields):
    with pytest.raises(BadRequest):
        make().add(**fields)


def test_a_queue_that_is_not_there_is_not_found(make):
    with pytest.raises(NotFound):
        make().client.create_task(parent=QUEUE + "-none", task=Task(http_request=HttpRequest(url="https://a/")))


@given(failed=st.integers(1, 200), doublings=st.integers(0, 16))
def test_the_backoff_never_falls_and_never_exceeds_its_maximum(failed, doublings):
    retry = {"minBackoff": "0.1s", "maxBackoff": "3600s", "maxDoublings": doublings}
    assert 0.1 <= backoff(retry, failed) <= backoff(retry, failed + 1) <= 3600


@pytest.mark.parametrize(
    ("attempts", "age", "longest", "over"),
    [(2, 0, "0s", False), (3, 0, "0s", True), (3, 5, "10s", False), (3, 10, "10s", True), (2, 99, "10s", False)],
)
def test_both_limits_must_be_exceeded_where_both_are_set(attempts, age, longest, over):
    assert exhausted({"maxAttempts": 3, "maxRetryDuration": longest}, attempts, 100, 100 + age) is over
