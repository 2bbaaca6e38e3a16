"""Tasks reach a real HTTP receiver as Cloud Tasks documents it."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.local.tasks_stand_in import EMAIL, Receiver, queue_name, wait_until
from tools.local.identity import InvalidToken
from tools.local.tasks import queues
from tools.local.tasks.dispatcher import Dispatcher
from tools.local.tasks.store import Store


@pytest.fixture
def queue(tasks, request):
    short = "q-" + request.node.name.replace("_", "-").replace("[", "-").replace("]", "").replace(".", "-")[:90]
    tasks.make_queue(short)
    yield short
    tasks.client.delete_queue(name=queue_name(short))


def test_a_task_is_sent_with_its_method_headers_and_body(tasks, receiver, queue):
    sent = {"headers": {"Content-Type": "application/json", "X-Mine": "1"}, "body": b'{"a": "\xc3\xa9"}'}
    made = tasks.add(queue, f"{receiver.url}/do/it?x=1", http=sent | {"http_method": "PUT"})
    (got,) = receiver.wait_for(1)
    assert (got.method, got.path, got.body) == ("PUT", "/do/it?x=1", sent["body"])
    assert (got.headers["content-type"], got.headers["x-mine"]) == ("application/json", "1")
    assert got.headers["user-agent"] == "Google-Cloud-Tasks"
    assert got.headers["x-cloudtasks-queuename"] == queue
    assert made.name == f"{queue_name(queue)}/tasks/{got.task}"
    assert got.headers["x-cloudtasks-taskretrycount"] == "0"
    assert got.headers["x-cloudtasks-taskexecutioncount"] == "0"
    assert abs(float(got.headers["x-cloudtasks-tasketa"]) - time.time()) < 5
    assert "x-cloudtasks-taskpreviousresponse" not in got.headers
    assert "x-cloudtasks-taskretryreason" not in got.headers
    tasks.wait_empty(queue)


def test_headers_that_the_service_sets_cannot_be_forged(tasks, receiver, queue):
    forged = {"X-CloudTasks-TaskRetryCount": "7", "User-Agent": "me", "Host": "evil", "x-google-y": "1"}
    tasks.add(queue, receiver.url, http={"headers": forged | {"Transfer-Encoding": "chunked"}})
    (got,) = receiver.wait_for(1)
    assert got.headers["x-cloudtasks-taskretrycount"] == "0"
    assert got.headers["user-agent"] == "Google-Cloud-Tasks"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "x-google-y" not in got.headers and "transfer-encoding" not in got.headers


def test_a_task_waits_for_its_schedule_time(tasks, receiver, queue):
    due = datetime.now(UTC) + timedelta(seconds=0.8)
    tasks.add(queue, receiver.url, schedule_time=due)
    (got,) = receiver.wait_for(1)
    assert 0 <= got.at - due.timestamp() < 0.4
    assert float(got.headers["x-cloudtasks-tasketa"]) == pytest.approx(due.timestamp(), abs=0.001)


def test_a_task_is_sent_on_time_while_another_is_in_flight(tasks, receiver, queue):
    receiver.delay_s = 1.5
    tasks.add(queue, receiver.url)
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    tasks.add(queue, receiver.url, schedule_time=due)
    assert 0 <= receiver.wait_for(2)[1].at - due.timestamp() < 0.4


def test_a_failed_task_is_retried_and_told_how_often_and_why(tasks, receiver, queue):
    receiver.answers = [500, 404, 200]
    tasks.add(queue, receiver.url)
    first, second, third = (each.headers for each in receiver.wait_for(3))
    assert [each["x-cloudtasks-taskretrycount"] for each in (first, second, third)] == ["0", "1", "2"]
    # An answer of 5xx does not count as an execution; any other does.
    assert [each["x-cloudtasks-taskexecutioncount"] for each in (first, second, third)] == ["0", "0", "1"]
    assert second["x-cloudtasks-taskpreviousresponse"] == "500"
    assert third["x-cloudtasks-taskpreviousresponse"] == "404"
    assert second["x-cloudtasks-taskretryreason"] == "INTERNAL(13): HTTP status code 500"
    assert float(first["x-cloudtasks-tasketa"]) < float(second["x-cloudtasks-tasketa"])
    tasks.wait_empty(queue)


def test_a_task_shows_what_its_attempts_came_to(tasks, receiver, queue):
    receiver.status = 503
    retry = {"min_backoff": "60s", "max_backoff": "60s"}
    made = tasks.add(queue, receiver.url, retry_config=retry)
    receiver.wait_for(1)
    wait_until(lambda: tasks.client.get_task(name=made.name).response_count, 5, lambda: "no response is counted")
    shown = tasks.client.get_task(name=made.name)
    assert (shown.dispatch_count, shown.response_count) == (1, 1)
    assert (shown.last_attempt.response_status.code, shown.last_attempt.response_status.message) == (
        14,
        "UNAVAILABLE(14): HTTP status code 503",
    )
    assert shown.first_attempt.dispatch_time <= shown.last_attempt.response_time
    assert 55 < shown.schedule_time.timestamp() - time.time() < 61


def test_a_target_that_is_not_there_counts_as_no_response(tasks, queue):
    gone = Receiver()
    gone.close()
    made = tasks.add(queue, gone.url, retry_config={"min_backoff": "60s", "max_backoff": "60s"})
    told = lambda: tasks.client.get_task(name=made.name)  # noqa: E731
    wait_until(lambda: told().last_attempt.response_status.code, 5, lambda: "no attempt ended")
    assert told().last_attempt.response_status.message.startswith("UNAVAILABLE(14)")
    assert (told().dispatch_count, told().response_count) == (1, 0)


def test_a_redirect_is_a_failure(tasks, receiver, queue):
    receiver.answers, receiver.extra = [302], {"Location": "/elsewhere"}
    tasks.add(queue, f"{receiver.url}/here")
    assert [each.path for each in receiver.wait_for(2)] == ["/here", "/here"]


def test_retry_after_of_a_busy_target_holds_the_whole_queue(tasks, receiver, queue):
    receiver.answers, receiver.extra = [429], {"Retry-After": "1"}
    tasks.add(queue, f"{receiver.url}/first")
    first = receiver.wait_for(1)[0]
    time.sleep(0.2)
    tasks.add(queue, f"{receiver.url}/second")
    later = receiver.wait_for(3)[1:]
    assert {each.path for each in later} == {"/first", "/second"}
    assert all(each.at - first.at >= 0.95 for each in later)


def test_the_oidc_token_is_of_the_account_and_for_the_audience(tasks, receiver, queue):
    oidc = {"service_account_email": EMAIL, "audience": "renderiq-tasks-run-render"}
    tasks.add(queue, receiver.url, http={"oidc_token": oidc, "headers": {"authorization": "Basic x"}})
    (got,) = receiver.wait_for(1)
    scheme, _, token = got.headers["authorization"].partition(" ")
    assert scheme == "Bearer"
    assert tasks.issuer.verify(token, "renderiq-tasks-run-render")["email"] == EMAIL
    with pytest.raises(InvalidToken):
        tasks.issuer.verify(token, receiver.url)


def test_the_audience_is_the_url_when_none_is_given(tasks, receiver, queue):
    url = f"{receiver.url}/path"
    tasks.add(queue, url, http={"oidc_token": {"service_account_email": EMAIL}})
    (got,) = receiver.wait_for(1)
    assert tasks.issuer.verify(got.headers["authorization"].removeprefix("Bearer "), url)["aud"] == url


def test_a_queue_decides_where_the_placeholder_url_of_its_tasks_goes(tasks, receiver):
    name = queue_name("overriding")
    target = {
        "uriOverride": {
            "scheme": "HTTP",
            "host": "127.0.0.1",
            "port": str(receiver.port),
            "pathOverride": {"path": "/internal/tasks/run-render"},
            "queryOverride": {"queryParams": "a=1&b=2"},
            "uriOverrideEnforceMode": "ALWAYS",
        },
        "httpMethod": "POST",
        "headerOverrides": [{"header": {"key": "X-Queue", "value": "yes"}}],
        "oidcToken": {"serviceAccountEmail": EMAIL, "audience": "run-render"},
    }
    client = tasks.client
    client.create_queue(parent=name.partition("/queues/")[0], queue=_from_json({"name": name, "httpTarget": target}))
    tasks.add("overriding", "https://tasks.invalid/", http={"body": b"{}", "headers": {"x-queue": "no"}})
    (got,) = receiver.wait_for(1)
    assert (got.method, got.path, got.body) == ("POST", "/internal/tasks/run-render?a=1&b=2", b"{}")
    assert got.headers["x-queue"] == "yes"
    assert tasks.issuer.verify(got.headers["authorization"].removeprefix("Bearer "), "run-render")
    # The task itself keeps the URL that it was made with.
    assert client.get_queue(name=name).http_target.uri_override.host == "127.0.0.1"
    client.delete_queue(name=name)


def _from_json(body):
    from google.cloud.tasks_v2.types import Queue

    return Queue.from_json(json.dumps(body))


def test_a_forced_run_sends_at_once_whatever_the_schedule_and_a_pause_say(tasks, receiver, queue):
    due = datetime.now(UTC) + timedelta(hours=1)
    made = tasks.add(queue, receiver.url, schedule_time=due)
    tasks.client.pause_queue(name=queue_name(queue))
    ran = tasks.client.run_task(name=made.name)
    assert ran.dispatch_count == 1
    (got,) = receiver.wait_for(1)
    assert float(got.headers["x-cloudtasks-tasketa"]) == pytest.approx(due.timestamp(), abs=0.001)
    tasks.wait_empty(queue)


def test_a_forced_run_that_fails_is_scheduled_by_the_retry_rule(tasks, receiver, queue):
    receiver.status = 500
    retry = {"min_backoff": "30s", "max_backoff": "30s"}
    made = tasks.add(queue, receiver.url, schedule_time=datetime.now(UTC) + timedelta(hours=1), retry_config=retry)
    tasks.client.run_task(name=made.name)
    shown = lambda: tasks.client.get_task(name=made.name)  # noqa: E731
    wait_until(lambda: shown().response_count == 1, 5, lambda: "no response is counted")
    assert 25 < shown().schedule_time.timestamp() - time.time() < 31


def test_a_task_that_runs_can_be_forced_to_run_a_second_time(tasks, receiver, queue):
    receiver.delay_s = 0.5
    made = tasks.add(queue, receiver.url)
    receiver.wait_for(1)
    tasks.client.run_task(name=made.name)
    assert len({each.task for each in receiver.wait_for(2)}) == 1
    tasks.wait_empty(queue)
    time.sleep(0.3)
    assert len(receiver.got) == 2 == receiver.most_at_once


def test_a_task_that_is_deleted_is_not_sent(tasks, receiver, queue):
    made = tasks.add(queue, receiver.url, schedule_time=datetime.now(UTC) + timedelta(seconds=0.4))
    tasks.client.delete_task(name=made.name)
    time.sleep(0.7)
    assert receiver.got == []


def test_an_attempt_that_cannot_be_made_has_failed_and_is_tried_again(tmp_path):
    class Broken:
        email = EMAIL

        def mint(self, audience):
            raise RuntimeError("the key is gone")

    name, now = queue_name("broken"), time.time()
    dispatcher = Dispatcher(Store(tmp_path / "tasks.sqlite"), Broken())
    dispatcher.put_queue(queues.queue({"name": name, "retryConfig": {"minBackoff": "0.05s"}}))
    request = {"url": "http://127.0.0.1:1/", "httpMethod": "POST", "oidcToken": {"serviceAccountEmail": EMAIL}}
    task = dispatcher.store.add(name, None, {"httpRequest": request}, now, now)
    threading.Thread(target=dispatcher.run, daemon=True).start()
    wait_until(lambda: dispatcher.store.find(task.name).attempts > 1, 5, lambda: "it was not tried again")
    told = dispatcher.store.find(task.name).last["responseStatus"]["message"]
    assert told == "INTERNAL(13): it could not be sent: RuntimeError('the key is gone')"
