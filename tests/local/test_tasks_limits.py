"""Rates, concurrency, the retry rule and the dispatch deadline."""

import socket
import threading
import time

import pytest

from tests.local.tasks_stand_in import FAST_RETRY, Receiver, StandIn, queue_name
from tools.local.tasks import queues
from tools.local.tasks.outgoing import Outgoing, target
from tools.local.tasks.sender import send


def test_a_queue_never_has_more_in_flight_than_it_may(tasks, receiver):
    receiver.delay_s = 0.1
    tasks.make_queue("narrow", rate_limits={"max_concurrent_dispatches": 3})
    for _ in range(15):
        tasks.add("narrow", receiver.url)
    tasks.wait_empty("narrow")
    assert (len(receiver.got), receiver.most_at_once) == (15, 3)


def test_a_queue_sends_a_burst_and_then_at_its_rate(tasks, receiver):
    tasks.make_queue("slow", rate_limits={"max_dispatches_per_second": 10})
    tasks.client.pause_queue(name=queue_name("slow"))
    for _ in range(25):
        tasks.add("slow", receiver.url)
    tasks.client.resume_queue(name=queue_name("slow"))
    times = [each.at for each in receiver.wait_for(25)]
    assert times[9] - times[0] < 0.5
    assert times[24] - times[0] == pytest.approx(1.5, abs=0.4)


def test_a_queue_that_is_full_does_not_keep_another_waiting(tasks, receiver):
    slow = Receiver(delay_s=1.0)
    tasks.make_queue("full", rate_limits={"max_concurrent_dispatches": 1})
    tasks.make_queue("free")
    for _ in range(2):
        tasks.add("full", slow.url)
    slow.wait_for(1)
    began = time.time()
    tasks.add("free", receiver.url)
    assert receiver.wait_for(1)[0].at - began < 0.5
    tasks.wait_empty("full")
    slow.close()


def test_a_task_is_given_up_after_its_attempts_and_its_time(tmp_path, receiver):
    receiver.status = 500
    stand_in = StandIn(tmp_path)
    stand_in.make_queue("both", retry_config=_retry(max_attempts=3, max_retry_duration="0.6s"))
    stand_in.add("both", receiver.url)
    stand_in.wait_empty("both")
    # Three attempts were reached after 0.1 s: the time was not, so it went on.
    assert len(receiver.got) > 3
    assert receiver.got[-1].at - receiver.got[0].at >= 0.5
    stand_in.make_queue("count", retry_config=_retry(max_attempts=3))
    before = len(receiver.got)
    stand_in.add("count", receiver.url)
    stand_in.wait_empty("count")
    assert len(receiver.got) - before == 3
    errors = stand_in.stop()
    assert errors.count("is given up after") == 2
    assert "INTERNAL(13): HTTP status code 500" in errors


def _retry(**settings):
    return {"min_backoff": "0.05s", "max_backoff": "0.1s", "max_doublings": 1} | settings


def test_the_waits_between_attempts_double_then_grow_and_then_stay():
    retry = queues.retry_config({"minBackoff": "10s", "maxBackoff": "300s", "maxDoublings": 3})
    assert [queues.backoff(retry, failed) for failed in range(1, 9)] == [10, 20, 40, 80, 160, 240, 300, 300]
    assert queues.backoff(queues.retry_config({"maxDoublings": 5000}), 10_000) == 3600


@pytest.mark.parametrize(
    ("attempts", "duration", "done", "after_s", "given_up"),
    [
        (3, "0s", 2, 0, False),
        (3, "0s", 3, 0, True),
        (3, "60s", 3, 59, False),
        (3, "60s", 2, 61, False),
        (3, "60s", 3, 60, True),
        (-1, "0s", 1000, 86400, False),
        (-1, "60s", 1000, 59, False),
        (-1, "60s", 1, 60, True),
        (-1, "0s", 1, 31 * 86400, True),
    ],
)
def test_both_the_attempts_and_the_time_must_be_used_up(attempts, duration, done, after_s, given_up):
    retry = queues.retry_config(FAST_RETRY | {"maxAttempts": attempts, "maxRetryDuration": duration})
    assert queues.exhausted(retry, done, 1000.0, 1000.0 + after_s) is given_up


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_does_not_outlast_the_deadline(first):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_drip, args=(server, first), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        began = time.monotonic()
        outcome = send(Outgoing("POST", url, {}, b"{}"), 0.5)
        assert 0.4 < time.monotonic() - began < 1.5
    assert (outcome.status, outcome.code) == (0, 4)
    assert outcome.message == "DEADLINE_EXCEEDED(4): no answer within 0.5 s"


def _drip(server, first):
    conn, _ = server.accept()
    with conn:
        try:
            conn.sendall(first)
            for _ in range(100):
                time.sleep(0.05)
                conn.sendall(b"x")
        except OSError:
            return


def test_a_connection_that_is_reset_is_told_as_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        outcome = send(Outgoing("POST", f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}"), 5)
    assert (outcome.status, outcome.code) == (0, 14)


@pytest.mark.parametrize(
    ("url", "override", "expected"),
    [
        ("https://tasks.invalid/", {}, "https://tasks.invalid/"),
        ("https://tasks.invalid", {}, "https://tasks.invalid/"),
        ("https://tasks.invalid/a?b=c", {"scheme": "HTTP", "host": "h"}, "http://h/a?b=c"),
        ("https://h:81/", {"port": "82"}, "https://h:82/"),
        ("https://h:81/", {"port": "0"}, "https://h/"),
        ("https://h/a", {"pathOverride": {"path": "/b"}}, "https://h/b"),
        ("https://h/a", {"pathOverride": {}}, "https://h/"),
        ("https://h/a?b=c", {"queryOverride": {"queryParams": "d=e"}}, "https://h/a?d=e"),
        ("https://h/a?b=c", {"queryOverride": {}}, "https://h/a"),
        ("http://[::1]:80/a", {"port": "81"}, "http://[::1]:81/a"),
        (
            "https://h/",
            {"uriOverrideEnforceMode": "IF_NOT_EXISTS", "scheme": "HTTP", "host": "x", "port": "8"},
            "https://h:8/",
        ),
    ],
)
def test_a_queue_replaces_exactly_the_parts_of_the_url_that_it_names(url, override, expected):
    assert target(url, override) == expected
