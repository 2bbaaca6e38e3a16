"""Projects: what may be a name, and how many renders there are in one."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.functions.test_renders import Account, paused
from tests.support import request


@pytest.fixture
def account(stack, new_account, snapshot_of):
    account_id, key = new_account(100)
    return Account(stack, account_id, key, snapshot_of(key))


def create(account, name, **more):
    return account.call("POST", "/projects", body={"name": name, **more})


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("House on the hill", "House on the hill"),
        ("  \t trimmed \n", "trimmed"),
        ("\u00a0no-break\u2003", "no-break"),
        ("Дом 家 🏠", "Дом 家 🏠"),
        ("👩\u200d💻 studio", "👩\u200d💻 studio"),
        ("e\u0301tage", "étage"),
        ("é" * 200, "é" * 200),
        ("e\u0301" * 200, "é" * 200),
    ],
)
def test_a_name_is_kept_as_it_reads(account, sent, kept):
    made = create(account, sent)
    assert made.status == 201, made.body
    assert made.json["name"] == kept
    assert account.call("GET", "/projects").json["items"][0] == made.json


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "\u200b",
        "\u0301",
        "a\nb",
        "a\x00b",
        "a\x07b",
        "a\x7fb",
        "a\u0085b",
        "a\u202eb",
        "a\u2028b",
        "é" * 201,
        7,
        None,
    ],
)
def test_what_is_no_name_is_refused(account, name):
    refused = create(account, name)
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert refused.json["errors"][0]["field"] == "name"


@pytest.mark.parametrize(
    ("first", "second"), [("Haus", "HAUS"), ("Дом", "дом"), ("étage", "E\u0301tage"), ("same", " same ")]
)
def test_a_name_is_taken_however_it_is_written(account, new_account, first, second):
    assert create(account, first).status == 201
    refused = create(account, second)
    assert (refused.status, refused.code) == (409, "name_taken")
    assert create(Account(account.stack, *new_account(0), None), second).status == 201


def test_of_many_at_once_one_gets_the_name(account):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: create(account, "the one"), range(16)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 15


def test_a_description_may_have_lines_and_is_none_when_there_is_none(account):
    made = create(account, "described", description="two\nlines\tand a tab ")
    assert made.json["description"] == "two\nlines\tand a tab"
    assert create(account, "not described").json["description"] is None
    assert create(account, "bell", description="a\x07").status == 422
    assert create(account, "long", description="x" * 2001).status == 422


def test_a_project_counts_its_renders_whatever_became_of_them(account):
    project = create(account, "counted").json["id"]
    with paused(account.stack):
        with ThreadPoolExecutor(8) as threads:
            orders = list(
                threads.map(lambda _: account.order(projectId=project, quality="draft").json["id"], range(12))
            )
        for order in orders[:11]:
            account.cancel(order)
        account.order(quality="draft")
    account.finished(orders[11])
    assert account.call("GET", "/projects").json["items"][0]["renderCount"] == 12
    found = account.call("GET", f"/renders?projectId={project}&limit=100").json["items"]
    assert {render["id"] for render in found} == set(orders)
    refused = account.order(projectId=project, quality="draft", uploadId=str(uuid4()))
    assert refused.code == "upload_not_ready"
    assert account.call("GET", "/projects").json["items"][0]["renderCount"] == 12


def test_somebody_elses_project_takes_no_renders(account, new_account):
    theirs = create(Account(account.stack, *new_account(0), None), "theirs").json["id"]
    refused = account.order(projectId=theirs)
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "projectId")
    assert account.call("GET", f"/renders?projectId={theirs}").json["items"] == []


@pytest.mark.parametrize(
    "query",
    ["since=soon", "since=0001-01-01T00:00:00%2B14:00", "until=2026-01-01T00:00:00", "status=done", "platform=word"],
)
def test_a_filter_that_cannot_be_read_is_told(account, query):
    refused = account.call("GET", f"/renders?{query}")
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert refused.json["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("name", "told"), [("x" * 201, "at most 200 characters, not 201"), ("", "at least 1 character")]
)
def test_a_name_of_a_wrong_length_is_told_in_characters(account, name, told):
    (error,) = create(account, name).json["errors"]
    assert error["field"] == "name"
    assert told in error["message"]


def test_pages_go_from_the_newest_project_to_the_oldest(stack, new_account):
    sent = {"X-API-Key": new_account(0)[1]}
    made = [request(stack.base_url, "POST", "/projects", body={"name": name}, **sent).json["id"] for name in "abc"]
    first = request(stack.base_url, "GET", "/projects?limit=2", **sent).json
    assert [project["id"] for project in first["items"]] == [made[2], made[1]]
    cursor = first["nextCursor"]
    last = request(stack.base_url, "GET", f"/projects?limit=2&cursor={cursor}", **sent).json
    assert ([project["id"] for project in last["items"]], last["nextCursor"]) == ([made[0]], None)
    other = request(stack.base_url, "GET", f"/projects?cursor={cursor[:-1]}B", **sent)
    assert (other.status, other.code) == (400, "cursor_invalid"), "not as we wrote it"
