"""The v2 REST surface, as the real client speaks it: queues, views, pages, names, and what is refused."""

import json
import time
import urllib.error
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2.types import Queue, Task

from tests.local.tasks_stand_in import EMAIL, LOCATION, queue_name
from tools.local.tasks.store import Store

LATER = timedelta(hours=1)
URL = "https://tasks.invalid/"


@pytest.fixture(scope="module", autouse=True)
def q(tasks):
    """The queue that is there already."""
    tasks.make_queue("q")


def _waiting(tasks, short="q", **settings):
    return tasks.add(short, URL, schedule_time=datetime.now(UTC) + LATER, **settings)


def test_a_task_shows_its_body_only_in_the_full_view(tasks):
    made = _waiting(tasks, http={"body": b"hello", "headers": {"A": "b"}}, dispatch_deadline="20s")
    assert (made.view, made.http_request.body) == (Task.View.BASIC, b"")
    full = tasks.client.get_task(request={"name": made.name, "response_view": Task.View.FULL})
    assert (full.view, full.http_request.body, full.http_request.headers["A"]) == (Task.View.FULL, b"hello", "b")
    assert full.dispatch_deadline == timedelta(seconds=20)
    assert abs(full.create_time.timestamp() - time.time()) < 5
    asked = {"http_request": {"url": URL, "body": b"x"}, "schedule_time": datetime.now(UTC) + LATER}
    request = {"parent": queue_name("q"), "task": asked, "response_view": "FULL"}
    assert tasks.client.create_task(request=request).http_request.body == b"x"


def test_a_list_goes_over_all_pages(tasks):
    tasks.make_queue("pages")
    made = {_waiting(tasks, "pages").name for _ in range(7)}
    request = {"parent": queue_name("pages"), "page_size": 3}
    pages = [[task.name for task in page.tasks] for page in tasks.client.list_tasks(request=request).pages]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert {name for page in pages for name in page} == made


def test_a_name_stays_taken_after_the_task_is_done_deleted_or_purged(tasks, receiver):
    tasks.make_queue("names")
    name = f"{queue_name('names')}/tasks/"
    tasks.add("names", receiver.url, name=f"{name}done")
    tasks.wait_empty("names")
    tasks.client.delete_task(name=_waiting(tasks, "names", name=f"{name}deleted").name)
    _waiting(tasks, "names", name=f"{name}purged")
    tasks.client.purge_queue(name=queue_name("names"))
    _waiting(tasks, "names", name=f"{name}there")
    for short in ("done", "deleted", "purged", "there"):
        with pytest.raises(exceptions.Conflict):
            _waiting(tasks, "names", name=name + short)
    assert len(receiver.got) == 1


def test_a_name_is_free_again_after_a_day(tmp_path):
    store, body = Store(tmp_path / "tasks.sqlite"), {"httpRequest": {"url": URL}}
    with closing(store._db):
        store.add("q", "q/tasks/a", body, 0.0, 0.0)
        store.remove("q/tasks/a", 100.0)
        assert store.add("q", "q/tasks/a", body, 0.0, 100.0 + 86399) is None
        assert store.add("q", "q/tasks/a", body, 0.0, 100.0 + 86400) is not None


def test_a_paused_queue_takes_tasks_and_sends_them_once_resumed(tasks, receiver):
    tasks.make_queue("paused")
    assert tasks.client.pause_queue(name=queue_name("paused")).state == Queue.State.PAUSED
    tasks.add("paused", receiver.url)
    time.sleep(0.3)
    assert receiver.got == []
    assert tasks.client.resume_queue(name=queue_name("paused")).state == Queue.State.RUNNING
    receiver.wait_for(1)


def test_a_purge_removes_every_task(tasks, receiver):
    tasks.make_queue("purged")
    tasks.client.pause_queue(name=queue_name("purged"))
    for _ in range(5):
        tasks.add("purged", receiver.url)
    purged = tasks.client.purge_queue(name=queue_name("purged"))
    assert abs(purged.purge_time.timestamp() - time.time()) < 5
    assert purged.state == Queue.State.PAUSED
    tasks.client.resume_queue(name=queue_name("purged"))
    time.sleep(0.2)
    assert (tasks.names("purged"), receiver.got) == ([], [])


def test_a_queue_has_the_services_defaults(tasks):
    made = tasks.client.create_queue(parent=LOCATION, queue={"name": queue_name("plain")})
    limits, retry = made.rate_limits, made.retry_config
    assert (limits.max_dispatches_per_second, limits.max_burst_size, limits.max_concurrent_dispatches) == (
        500,
        100,
        1000,
    )
    assert (retry.max_attempts, retry.max_doublings) == (100, 16)
    assert (retry.min_backoff, retry.max_backoff) == (timedelta(seconds=0.1), timedelta(hours=1))
    assert made == tasks.client.get_queue(name=made.name)
    assert made.name in [queue.name for queue in tasks.client.list_queues(parent=LOCATION)]
    with pytest.raises(exceptions.Conflict):
        tasks.client.create_queue(parent=LOCATION, queue={"name": queue_name("plain")})


def test_an_update_changes_what_its_mask_names_and_makes_what_is_not_there(tasks):
    name = queue_name("updated")
    limits = {"max_dispatches_per_second": 5, "max_concurrent_dispatches": 2}
    made = tasks.client.update_queue(queue={"name": name, "rate_limits": limits})
    assert (made.rate_limits.max_dispatches_per_second, made.rate_limits.max_burst_size) == (5, 5)
    tasks.client.pause_queue(name=name)
    change = {"name": name, "rate_limits": {"max_concurrent_dispatches": 9}, "retry_config": {"max_attempts": 7}}
    masked = tasks.client.update_queue(queue=change, update_mask={"paths": ["rate_limits.max_concurrent_dispatches"]})
    assert masked.rate_limits.max_concurrent_dispatches == 9
    assert masked.rate_limits.max_dispatches_per_second == 5
    assert masked.retry_config.max_attempts == 100
    target = {"uri_override": {"scheme": "HTTP", "host": "localhost", "port": 81}, "http_method": "PUT"}
    whole = tasks.client.update_queue(queue={"name": name, "http_target": target})
    assert whole.rate_limits.max_dispatches_per_second == 500
    assert (whole.http_target.uri_override.scheme.name, whole.http_target.http_method.name) == ("HTTP", "PUT")
    assert whole.state == Queue.State.PAUSED


def test_a_deleted_queue_and_its_tasks_are_gone(tasks):
    tasks.make_queue("deleted")
    made = _waiting(tasks, "deleted")
    tasks.client.delete_queue(name=queue_name("deleted"))
    for call, asked in (
        (tasks.client.get_queue, {"name": queue_name("deleted")}),
        (tasks.client.get_task, {"name": made.name}),
        (tasks.client.list_tasks, {"parent": queue_name("deleted")}),
    ):
        with pytest.raises(exceptions.NotFound):
            call(request=asked)
    with pytest.raises(exceptions.NotFound):
        _waiting(tasks, "deleted")


def test_a_task_that_is_not_there_cannot_be_had_run_or_deleted(tasks):
    name = f"{queue_name('q')}/tasks/never"
    for call in (tasks.client.get_task, tasks.client.run_task, tasks.client.delete_task):
        with pytest.raises(exceptions.NotFound):
            call(name=name)


@pytest.mark.parametrize(
    "task",
    [
        {},
        {"http_request": {"url": "ftp://example.com/"}},
        {"http_request": {"url": "https://"}},
        {"http_request": {"url": "https://example.com:99999/"}},
        {"http_request": {"url": "https://example.com/ x"}},
        {"http_request": {"url": "https://example.com/" + "x" * 2083}},
        {"http_request": {"url": URL, "http_method": "GET", "body": b"x"}},
        {"http_request": {"url": URL, "body": b"x" * 102_400}},
        {"http_request": {"url": URL, "headers": {"A": "b" * 81_920}}},
        {"http_request": {"url": URL, "headers": {"A": "b\r\nC: d"}}},
        {"http_request": {"url": URL, "headers": {"A b": "c"}}},
        {"http_request": {"url": URL, "oidc_token": {"audience": "a"}}},
        {"http_request": {"url": URL, "oauth_token": {"service_account_email": EMAIL}}},
        {"app_engine_http_request": {"relative_uri": "/"}},
        {"http_request": {"url": URL}, "dispatch_deadline": "14s"},
        {"http_request": {"url": URL}, "dispatch_deadline": "1801s"},
        {"http_request": {"url": URL}, "schedule_time": datetime.now(UTC) + timedelta(days=31)},
        {"http_request": {"url": URL}, "name": f"{queue_name('q')}/tasks/a b"},
        {"http_request": {"url": URL}, "name": f"{queue_name('q')}/tasks/{'x' * 501}"},
        {"http_request": {"url": URL}, "name": f"{queue_name('other')}/tasks/a"},
        {"http_request": {"url": URL}, "retry_config": {"max_attempts": -2}},
    ],
)
def test_a_task_beyond_the_documented_limits_is_refused(tasks, task):
    with pytest.raises(exceptions.BadRequest):
        tasks.client.create_task(parent=queue_name("q"), task=task)


def test_a_task_of_just_under_100_kb_is_taken(tasks):
    made = _waiting(tasks, http={"body": b"\x00\xff" * 51_000})
    full = tasks.client.get_task(request={"name": made.name, "response_view": "FULL"})
    assert full.http_request.body == b"\x00\xff" * 51_000


@pytest.mark.parametrize(
    "queue",
    [
        {"name": queue_name("under_score")},
        {"name": queue_name("x" * 101)},
        {"name": "projects/example/locations/elsewhere/queues/q"},
        {"name": queue_name("bad"), "rate_limits": {"max_dispatches_per_second": 501}},
        {"name": queue_name("bad"), "rate_limits": {"max_dispatches_per_second": -1}},
        {"name": queue_name("bad"), "rate_limits": {"max_concurrent_dispatches": 5001}},
        {"name": queue_name("bad"), "retry_config": {"max_attempts": -2}},
        {"name": queue_name("bad"), "retry_config": {"min_backoff": "2s", "max_backoff": "1s"}},
        {"name": queue_name("bad"), "retry_config": {"max_retry_duration": "-1s"}},
        {"name": queue_name("bad"), "http_target": {"uri_override": {"host": ""}}},
        {"name": queue_name("bad"), "http_target": {"uri_override": {"port": -1}}},
        {"name": queue_name("bad"), "http_target": {"oidc_token": {"service_account_email": EMAIL}}},
        {"name": queue_name("bad"), "http_target": {"header_overrides": [{"header": {"key": "a b", "value": "c"}}]}},
        {"name": queue_name("bad"), "http_target": {"header_overrides": [{"header": {"key": "a", "value": "b\r\nc"}}]}},
    ],
)
def test_a_queue_beyond_the_documented_limits_is_refused(tasks, queue):
    with pytest.raises(exceptions.BadRequest):
        tasks.client.create_queue(parent=LOCATION, queue=queue)


def test_a_token_of_an_account_that_is_not_ours_is_refused(tasks):
    stranger = {"service_account_email": "other@example.com", "audience": "a"}
    with pytest.raises(exceptions.Forbidden, match="actAs"):
        _waiting(tasks, http={"oidc_token": stranger})
    with pytest.raises(exceptions.Forbidden, match="actAs"):
        tasks.make_queue("strange", http_target={"oidc_token": stranger})


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/tasks", b"{", {}, 400),
        ("POST", "/tasks", b"[]", {}, 400),
        ("POST", "/tasks", b'{"task": 7}', {}, 400),
        ("POST", "/tasks", b'{"task": {"httpRequest": {"url": 7}}}', {}, 400),
        ("POST", "/tasks", b'{"task": {"httpRequest": {"url": "http://a", "body": "?"}}}', {}, 400),
        ("POST", "/tasks", b'{"task": {"httpRequest": {"url": "http://a"}, "scheduleTime": "soon"}}', {}, 400),
        ("POST", "/tasks", b'{"task": {"httpRequest": {"url": "http://a"}, "dispatchDeadline": 20}}', {}, 400),
        ("PATCH", "?updateMask=state", b"{}", {}, 400),
        ("GET", "/tasks?pageSize=x", None, {}, 400),
        ("PUT", "/tasks", b"{}", {}, 404),
        ("POST", ":explode", b"{}", {}, 404),
        ("GET", "/elsewhere", None, {}, 404),
        ("POST", ":purge", b"{}", {"Origin": "https://example.com"}, 403),
    ],
)
def test_what_no_client_of_googles_sends_is_answered_with_an_error(tasks, method, path, body, headers, status):
    url = f"{tasks.base_url}/v2/{queue_name('q')}{path}"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method))
    with caught.value as answer:
        error = json.loads(answer.read())["error"]
    assert (answer.code, error["code"]) == (status, status)
    assert error["status"] == {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}[status]
