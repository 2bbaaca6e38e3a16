"""Calls over a network that fails: repeated where that is safe, done once, and told plainly when it is no use."""

import json
import shutil
import threading
import time
from email.utils import formatdate
from http.client import HTTPMessage
from pathlib import Path
from uuid import uuid4

import pytest

from renderiq_client import Client, NetworkError, RenderiqError
from renderiq_client.transport import Answer, retrying
from tests import fault_proxy
from tests.support import Tenant

SNAPSHOT = Path(__file__).parents[2] / "docs" / "samples" / "room_viewport.png"
RENDERS = "^POST /api/plugins/renders"
LOSING = [
    fault_proxy.unavailable,
    fault_proxy.refused_before_it_was_read,
    fault_proxy.reset_in_the_middle,
    fault_proxy.lost_answer,
    fault_proxy.truncated_head,
    fault_proxy.truncated_body,
    fault_proxy.answer_that_comes_too_late,
]


@pytest.fixture(scope="module")
def upload_id(stack, tmp_path_factory):
    picture = shutil.copy(SNAPSHOT, tmp_path_factory.mktemp("upload") / "room.png")
    return stack.client().upload(picture)["id"]


@pytest.fixture
def client(stack, proxy):
    return Client(proxy.url, stack.api_key, timeout_s=3)


@pytest.fixture
def prompt():
    """Words that no other test orders."""
    return f"a room {uuid4()}"


def count(stack, prompt):
    return stack.sql("SELECT count(*) AS n FROM renders WHERE prompt = :prompt::text", prompt=prompt)[0]["n"]


@pytest.mark.parametrize("fault", LOSING, ids=lambda fault: fault.__name__)
def test_an_order_is_placed_once_whatever_happens_to_its_request_or_its_answer(
    stack, proxy, client, upload_id, prompt, fault
):
    proxy.inject(fault, fault, into=RENDERS)
    order = client.render(upload_id, prompt, quality="draft")
    assert count(stack, prompt) == 1
    assert client.wait(order["id"])["status"] == "succeeded"


def test_the_callers_own_idempotency_key_places_one_order_over_several_runs(stack, client, upload_id, prompt):
    key = f"room-{time.time_ns()}"
    orders = {client.render(upload_id, prompt, quality="draft", idempotency_key=key)["id"] for _ in range(3)}
    assert (len(orders), count(stack, prompt)) == (1, 1)


def test_a_plugin_says_who_it_is(stack, upload_id):
    client = Client(stack.base_url, stack.api_key, platform="revit", version="2.1.0")
    told = client.render(upload_id, "a room", quality="draft")["metadata"]
    assert (told["sourcePlatform"], told["pluginVersion"]) == ("revit", "2.1.0")


def test_options_may_be_spelled_as_python_or_as_the_api_does(stack, client, upload_id):
    for options in ({"depth_upload_id": upload_id}, {"depthUploadId": upload_id}):
        with pytest.raises(RenderiqError) as refused:
            client.render(upload_id, "a room", geometry_fidelity=1000, **options)
        assert [error["field"] for error in refused.value.errors] == ["geometryFidelity"]
        with pytest.raises(RenderiqError, match="depthUploadId: is not a ready upload for the purpose depth"):
            client.render(upload_id, "a room", **options)


def test_a_wait_that_the_service_asks_for_is_kept(proxy, client):
    proxy.inject(fault_proxy.unavailable_for_a_second, into="credits")
    began = time.monotonic()
    client.credits()
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(("told", "wait_s"), [("7", 7), (formatdate(0, usegmt=True), 0), ("soon", 0), ("-3", 0)])
def test_a_wait_is_told_in_seconds_or_by_its_end(told, wait_s):
    assert answered(told).retry_after() == wait_s


def test_a_wait_is_what_is_left_until_its_end():
    assert 900 < answered(formatdate(time.time() + 1000, usegmt=True)).retry_after() <= 1000


def test_no_wait_is_told():
    assert Answer(503, HTTPMessage(), b"").retry_after() == 0


def answered(retry_after):
    headers = HTTPMessage()
    headers["Retry-After"] = retry_after
    return Answer(503, headers, b"")


@pytest.mark.parametrize(("problem", "times"), [("idempotency_in_flight", 2), ("name_taken", 1)])
def test_a_conflict_is_asked_again_only_while_the_first_try_is_still_running(proxy, client, problem, times):
    proxy.inject(*[answering(409, problem)] * (times - 1 or 1), into="^POST /api/plugins/keys")
    if times == 1:
        with pytest.raises(RenderiqError, match=problem):
            client.create_key("a key", ["credits:read"])
    else:
        assert client.create_key("a key", ["credits:read"])["key"]
    assert len(proxy.seen) == times


def answering(status, code):
    def problem(exchange):
        exchange.body()
        exchange.reply(status, {"Content-Type": "application/problem+json"}, json.dumps({"code": code}).encode())

    return problem


def test_an_engine_that_is_not_there_is_told_at_once(proxy, client, upload_id):
    with pytest.raises(RenderiqError, match="503 engine_unavailable"):
        client.render(upload_id, "a room", engine="gemini")
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("answered", [True, False], ids=["busy", "away"])
def test_no_try_begins_after_the_time_for_all_of_them(answered):
    tries = []

    def once():
        tries.append(1)
        if answered:
            return Answer(503, HTTPMessage(), b"")
        raise ConnectionResetError

    if answered:
        assert retrying(once, tries=9, within_s=0).status == 503
    else:
        with pytest.raises(NetworkError, match="ConnectionResetError"):
            retrying(once, tries=9, within_s=0)
    assert len(tries) == 1


def test_a_redirect_is_an_error_that_says_where_the_service_is(proxy, client):
    def moved(exchange):
        exchange.body()
        exchange.reply(308, {"Location": "https://api.example.com/"})

    proxy.inject(moved, into="credits")
    with pytest.raises(RenderiqError, match="The service is at https://api.example.com/"):
        client.credits()


def test_an_address_may_end_with_a_slash(stack):
    client = Client(stack.base_url + "/", stack.api_key)
    assert client.base_url == stack.base_url, "a path that begins with two slashes is another one"
    assert client.credits()["granted"] == 1000


def test_what_asks_for_too_long_a_wait_is_an_error_at_once(stack, proxy):
    def in_minutes(exchange):
        exchange.body()
        exchange.reply(429, {"Retry-After": "200"})

    proxy.inject(in_minutes, into="credits")
    with pytest.raises(RenderiqError, match="429"):
        Client(proxy.url, stack.api_key).credits()


def test_a_sign_in_page_is_not_taken_for_an_answer(proxy, client):
    proxy.inject(fault_proxy.sign_in_page, into="credits")
    with pytest.raises(NetworkError, match="not the API"):
        client.credits()


def test_a_refusal_names_the_field_and_the_request(client, upload_id):
    with pytest.raises(RenderiqError) as refused:
        client.render(upload_id, "")
    assert (refused.value.status, refused.value.code) == (422, "invalid_request")
    assert "prompt: " in str(refused.value)
    assert refused.value.request_id in str(refused.value)


def test_waiting_asks_the_service_to_hold_its_answer(stack, proxy, client, upload_id):
    order = client.render(upload_id, "a room", quality="draft")
    proxy.seen.clear()
    assert client.wait(order["id"])["status"] == "succeeded"
    assert len(proxy.seen) <= 2


def test_waiting_outlasts_a_service_that_is_away(proxy, stack, upload_id):
    client = Client(proxy.url, stack.api_key, tries=1)
    order = client.render(upload_id, "a room", quality="draft")
    proxy.inject(*[fault_proxy.refused_before_it_was_read] * 3, into="^GET /api/plugins/renders")
    assert client.wait(order["id"], 30)["status"] == "succeeded"


def test_a_wait_is_shorter_than_the_silence_that_the_client_bears(stack, proxy, upload_id):
    asked = []

    def note(exchange):
        asked.append(exchange.headers["Prefer"])
        fault_proxy.whole(exchange)

    client = Client(proxy.url, stack.api_key, timeout_s=4)
    order = client.render(upload_id, "a room", quality="draft")
    proxy.inject(note, into="^GET /api/plugins/renders")
    assert client.wait(order["id"])["status"] == "succeeded"
    assert asked == ["wait=2"]


def test_waiting_ends_when_its_time_is_over(client, upload_id):
    order = client.render(upload_id, "a room", quality="high")
    with pytest.raises(TimeoutError, match=order["id"]):
        client.wait(order["id"], 0)
    assert client.wait(order["id"])["status"] == "succeeded"


def test_the_stages_are_told(client, upload_id):
    seen = []
    order = client.render(upload_id, "a room", quality="draft")
    client.wait(order["id"], on_stage=lambda render: seen.append(render["status"]))
    assert seen[-1] == "succeeded"


def test_webhooks_are_registered_listed_over_pages_and_deleted(stack):
    client = stack.client()
    made = [client.register_webhook(f"http://127.0.0.1:9/{n}", ["render.completed"])["id"] for n in range(3)]
    assert made[::-1] == [webhook["id"] for webhook in client.list_webhooks() if webhook["id"] in made]
    for webhook_id in made:
        client.delete_webhook(webhook_id)
    assert not any(webhook["id"] in made for webhook in client.list_webhooks())


def test_webhooks_are_listed_over_all_pages(stack):
    owner = Tenant(stack)
    made = stack.sql(
        "INSERT INTO plugin_webhooks (account_id, url, events)"
        " SELECT :id::uuid, 'http://127.0.0.1:9/' || n, '{webhook.test}' FROM generate_series(1, 201) n RETURNING id",
        id=owner.id,
    )
    listed = stack.client(owner.key(["webhooks:read"])["key"]).list_webhooks()
    assert sorted(webhook["id"] for webhook in listed) == sorted(str(row["id"]) for row in made)


def test_threads_may_share_a_client(client):
    told = []
    threads = [threading.Thread(target=lambda: told.append(client.credits()["granted"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [1000] * 8
