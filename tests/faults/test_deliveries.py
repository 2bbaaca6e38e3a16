"""Workers, producers and the queue are killed at every step of a delivery: every delivery ends, nothing is lost.

What was sent before a kill is sent again, under the same `webhook-id`; nothing else is.
"""

import os
import signal
import socket
import threading
from datetime import datetime, timedelta

import pytest

from tests.conftest import start_stack, stop_stack
from tests.deliveries.conftest import Api, paused, until
from tests.deliveries.test_dead_letters import SKIPPED
from tests.receiver import Receiver
from tests.support import let_leases_end, request, time_of
from tools.local.parts import Part


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    raised = dict.fromkeys(("USER_RATE_PER_MINUTE", "PLATFORM_RATE_PER_MINUTE"), "1000000")
    running = start_stack(tmp_path_factory.mktemp("kills"), WEBHOOK_RETRY_DELAYS_S=",".join(["0.5"] * 8), **raised)
    yield running
    stop_stack(running)


@pytest.fixture
def api(stack):
    return Api(stack)


@pytest.fixture(scope="module")
def gateway(stack):
    """All functions: workers and producers alike."""
    part = Part("gateway", stack.data, stack.ports["gateway"])
    yield part
    part.stop()


@pytest.fixture(scope="module")
def tasks(stack):
    """The queues."""
    part = Part("tasks", stack.data, stack.ports["tasks"])
    yield part
    part.stop()


@pytest.fixture
def receivers():
    """Make receivers, and end them with the test."""
    made = []

    def make(port=0):
        made.append(Receiver(port))
        return made[-1]

    yield make
    for receiver in made:
        receiver.stop()


class Locked:
    """A webhook's row, held by somebody else: whoever claims or settles one of its deliveries waits."""

    def __init__(self, stack, webhook):
        self.conn = stack.connect()
        self.conn._simple("BEGIN")
        self.conn.rows("SELECT id FROM plugin_webhooks WHERE id = :id::uuid FOR UPDATE", id=webhook["id"])

    def release(self):
        self.conn._simple("ROLLBACK")
        self.conn.close()


def waiting(stack):
    """How many sessions wait for a lock."""
    (row,) = stack.sql("SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return row["n"]


def at_work(stack):
    """How many sessions of the functions do something."""
    (row,) = stack.sql("SELECT count(*) AS n FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'")
    return row["n"]


def ids_of(receiver):
    return [headers["webhook-id"] for _, headers, _ in receiver.taken()]


def test_a_worker_killed_at_any_step_loses_nothing(api, stack, gateway, receivers):
    before_claim, after_send, before_settle = (receivers() for _ in range(3))
    deaf = socket.create_server(("127.0.0.1", 0))
    deaf_port = deaf.getsockname()[1]
    hooks = {
        "before claim": api.register(before_claim.url),
        "after claim": api.register(f"http://127.0.0.1:{deaf_port}/hooks"),
        "after send": api.register(after_send.url),
        "before settle": api.register(before_settle.url),
    }
    locks = []

    def lock_and_answer():
        locks.append(Locked(stack, hooks["before settle"]))
        return (204, {})

    before_settle.next_answer = lock_and_answer
    after_send.gate.clear()
    with paused(stack):
        sent = {step: api.send(hook)[0] for step, hook in hooks.items()}
        locks.append(Locked(stack, hooks["before claim"]))
    until(lambda: after_send.now, lambda now: now == 1)
    until(lambda: (len(locks), waiting(stack)), lambda found: found == (2, 2))
    until(lambda: api.delivery(sent["after claim"])["status"], lambda status: status == "delivering")

    gateway.kill()
    for lock in locks:
        lock.release()
    until(lambda: at_work(stack), lambda n: n == 0)
    let_leases_end(stack, time_of(stack))
    deaf.close()
    heard = receivers(deaf_port)
    before_settle.next_answer = lambda: (204, {})
    after_send.gate.set()
    gateway.start()

    for delivery in sent.values():
        api.wait_for(delivery, "succeeded")
    events = {step: api.delivery(delivery)["eventId"] for step, delivery in sent.items()}
    assert ids_of(before_claim) == [events["before claim"]]
    assert ids_of(heard) == [events["after claim"]]
    assert ids_of(after_send) == [events["after send"]] * 2
    assert ids_of(before_settle) == [events["before settle"]] * 2


def test_a_producer_killed_between_commit_and_enqueue_loses_nothing(api, stack, gateway, tasks, receivers):
    receiver = receivers()
    webhook = api.register(receiver.url)

    def ask():
        try:
            api.call("POST", f"/webhooks/{webhook['id']}/test")
        except OSError:
            return  # the producer is killed

    os.kill(tasks.pid, signal.SIGSTOP)
    asking = threading.Thread(target=ask)
    try:
        asking.start()
        until(lambda: api.sql("SELECT id FROM webhook_deliveries WHERE webhook_id = :id::uuid", id=webhook["id"]), bool)
        gateway.kill()
    finally:
        os.kill(tasks.pid, signal.SIGCONT)
    asking.join()
    let_leases_end(stack, time_of(stack))
    gateway.start()
    until(lambda: api.statuses(webhook), lambda found: found == {"succeeded": 1})
    assert len(receiver.taken()) == 1


def test_a_queue_that_was_killed_and_lost_its_tasks_loses_nothing(api, stack, tasks, receivers):
    receiver = receivers()
    webhook = api.register(receiver.url)
    with paused(stack):
        sent = api.send(webhook, 30)
        tasks.kill()
        for file in stack.data.glob("tasks.sqlite*"):
            file.unlink()
        let_leases_end(stack, time_of(stack))
        tasks.start()
    until(lambda: api.statuses(webhook), lambda found: found == {"succeeded": 30})
    assert sorted(ids_of(receiver)) == sorted(api.delivery(delivery)["eventId"] for delivery in sent)


def test_a_recovery_whose_worker_is_killed_goes_on(api, stack, gateway, receivers):
    receiver = receivers()
    webhook = api.register(receiver.url)
    stack.sql(SKIPPED, id=webhook["id"], n=700)
    body = {"since": "2026-01-01T00:00:00Z"}
    asked = request(stack.base_url, "POST", f"/webhooks/{webhook['id']}/recover", body=body, X_API_Key=stack.api_key)
    assert asked.json == {"matched": 700, "enqueued": 700}
    until(lambda: api.statuses(webhook).get("skipped", 0), lambda left: 0 < left < 650)
    gateway.kill()
    assert 0 < api.statuses(webhook)["skipped"]
    until(lambda: at_work(stack), lambda n: n == 0)
    let_leases_end(stack, time_of(stack))
    gateway.start()
    until(lambda: api.statuses(webhook), lambda found: found == {"succeeded": 700}, timeout=150)
    assert len(set(ids_of(receiver))) == 700


def test_a_receiver_that_always_asks_for_a_year_is_given_up_in_time(api, receivers):
    """The schedule has 4 s: they may be waited for once, and not again with each attempt, which would make 32 s."""
    receiver = receivers()
    receiver.usual = (503, {"Retry-After": "31536000"})
    (delivery,) = api.send(api.register(receiver.url))
    log = api.wait_for(delivery, "dead")["attemptLog"]
    began, *_, ended = (datetime.fromisoformat(attempt["startedAt"]) for attempt in log)
    assert len(log) == 9
    assert timedelta(seconds=4) < ended - began < timedelta(seconds=30)
