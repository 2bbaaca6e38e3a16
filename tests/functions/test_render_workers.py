"""Several workers for one render: one makes it, and what the others bring is dropped."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests.functions.test_renders import TIMEOUT_S, Account, objects, paused
from tests.support import request
from tools.local.environment import TASKS_ACCOUNT
from tools.local.identity import Issuer
from tools.local.parts import pid_of


@pytest.fixture
def account(stack, new_account, snapshot_of):
    account_id, key = new_account(100)
    return Account(stack, account_id, key, snapshot_of(key))


def run(stack, render_id):
    """What a task does: the status it is answered."""
    token = Issuer((stack.data / "issuer-key.pem").read_text(), TASKS_ACCOUNT).mint("renderiq-tasks-run-render")
    body = {"renderId": render_id}
    headers = {"Authorization": f"Bearer {token}"}
    return request(stack.base_url, "POST", "/internal/tasks/run-render", body=body, **headers).status


def row_of(stack, render_id):
    return stack.sql("SELECT * FROM renders WHERE id = :id::uuid", id=render_id)[0]


def files_of(account, render_id):
    return sorted(objects(account.stack, f"renders/{account.id}/{render_id}/"))


def test_of_many_tasks_at_once_one_makes_the_render(account):
    with paused(account.stack):
        render_id = account.order(quality="draft").json["id"]
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(lambda _: run(account.stack, render_id), range(8))) == {204}
        assert account.finished(render_id)["status"] == "succeeded"
    assert row_of(account.stack, render_id)["attempt"] == 1
    assert files_of(account, render_id) == [
        f"renders/{account.id}/{render_id}/1/{name}.jpg" for name in ("picture", "thumbnail")
    ]
    assert account.credits() == {"available": 99, "held": 0, "spent": 1}
    assert run(account.stack, render_id) == 204
    assert [kind for kind, *_ in account.entries()] == ["capture", "hold", "grant"]


def test_a_worker_whose_lease_ended_leaves_the_render_to_the_next(account):
    """The first worker hangs while it stores; its lease ends, another makes the render, then the first comes back."""
    stack, storage = account.stack, pid_of("tools.local.storage", account.stack.data)
    with paused(stack):
        render_id = account.order(quality="draft").json["id"]
        workers = [threading.Thread(target=run, args=(stack, render_id)) for _ in range(2)]
        workers[0].start()
        account.until(render_id, lambda render: render["stage"] not in ("queued", "fetching"))
        os.kill(storage, signal.SIGSTOP)
        try:
            account.until(render_id, lambda render: render["stage"] == "storing")
            stack.sql("UPDATE renders SET lease_until = now() WHERE id = :id::uuid RETURNING 1", id=render_id)
            workers[1].start()
            end = time.monotonic() + TIMEOUT_S
            while row_of(stack, render_id)["attempt"] != 2:
                assert time.monotonic() < end
                time.sleep(0.02)
        finally:
            os.kill(storage, signal.SIGCONT)
        for worker in workers:
            worker.join()
        assert account.finished(render_id)["status"] == "succeeded"
    assert {name.split("/")[3] for name in files_of(account, render_id)} == {"2"}
    assert {file["object"].split("/")[3] for file in row_of(stack, render_id)["files"]} == {"2"}
    assert account.credits() == {"available": 99, "held": 0, "spent": 1}


def test_a_render_whose_workers_were_all_lost_fails_with_the_reason_and_is_not_charged(account):
    with paused(account.stack):
        render_id = account.order().json["id"]
        account.stack.sql(
            """
            UPDATE renders SET status = 'processing', attempt = 3, started_at = now(), lease_until = now(),
                               sweep_at = now() + interval '1 hour'
            WHERE id = :id::uuid RETURNING 1
            """,
            id=render_id,
        )
        assert run(account.stack, render_id) == 204
    failed = account.get(render_id).json
    assert (failed["status"], failed["error"]["code"], failed["error"]["retryable"]) == ("failed", "worker_lost", True)
    assert account.credits() == {"available": 100, "held": 0, "spent": 0}


def test_a_task_that_finds_a_live_lease_comes_back_when_it_ends(account):
    with paused(account.stack):
        render_id = account.order().json["id"]
        account.stack.sql(
            """
            UPDATE renders SET status = 'processing', attempt = 1, started_at = now(),
                               lease_until = now() + interval '2 seconds', sweep_at = now() + interval '1 hour'
            WHERE id = :id::uuid RETURNING 1
            """,
            id=render_id,
        )
        assert run(account.stack, render_id) == 204
        assert row_of(account.stack, render_id)["attempt"] == 1
    assert account.finished(render_id)["status"] == "succeeded"
    assert row_of(account.stack, render_id)["attempt"] == 2


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("""engine = '{"name": "gemini", "version": "1", "ai": true, "deterministic": false}'""", "engine_unavailable"),
        ("seed = -1", "internal"),
    ],
    ids=["an engine that is configured no longer", "a fault of ours"],
)
def test_what_fails_and_may_succeed_later_is_tried_again_and_each_try_keeps_the_hold(account, damage, code):
    """Three tries with growing pauses, then the reason, and nothing is charged."""
    with paused(account.stack):
        render_id = account.order().json["id"]
        account.stack.sql(f"UPDATE renders SET {damage} WHERE id = :id::uuid RETURNING 1", id=render_id)
        for attempt, pause_s in ((1, 5), (2, 20)):
            assert run(account.stack, render_id) == 204
            row = row_of(account.stack, render_id)
            assert (row["status"], row["attempt"], row["hold"]) == ("queued", attempt, "held")
            assert row["sweep_at"] - row["lease_until"] == timedelta(seconds=pause_s + 10)
        assert run(account.stack, render_id) == 204
    failed = account.get(render_id).json
    assert (failed["status"], failed["error"]["code"], failed["error"]["retryable"]) == ("failed", code, True)
    assert account.credits() == {"available": 100, "held": 0, "spent": 0}


def test_connections_that_the_database_ends_cost_a_render_no_attempt(account):
    """As in a failover: whoever worked with the database goes on with new connections."""
    with paused(account.stack):
        render_id = account.order(quality="high").json["id"]
        worker = threading.Thread(target=run, args=(account.stack, render_id))
        end_connections(account.stack)  # those that the pool has kept
        worker.start()
        account.until(render_id, lambda render: render["stage"] not in ("queued", "fetching"))
        end_connections(account.stack)
        worker.join()
    row = row_of(account.stack, render_id)
    assert (row["status"], row["attempt"]) == ("succeeded", 1)
    assert account.credits() == {"available": 96, "held": 0, "spent": 4}


def end_connections(stack):
    stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle'")


@contextmanager
def slow_commit(stack, render_id):
    """The commit that ends the render takes its time; gives what ends the connection that waits for it."""
    stack.sql(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END'"
    )
    stack.sql(
        "CREATE CONSTRAINT TRIGGER linger AFTER UPDATE ON renders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        f" WHEN (NEW.id = '{render_id}' AND NEW.status = 'succeeded') EXECUTE FUNCTION linger()"
    )

    def lose():
        end = time.monotonic() + TIMEOUT_S
        waiting = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"
        )
        while not stack.sql(waiting):
            assert time.monotonic() < end
            time.sleep(0.02)

    try:
        yield lose
    finally:
        stack.sql("DROP FUNCTION linger CASCADE")


def test_what_was_stored_is_kept_while_nobody_knows_whether_its_render_succeeded(account):
    """The connection is lost in the commit: had it got through, these would be the render's files."""
    stack = account.stack
    with paused(stack):
        render_id = account.order(quality="draft").json["id"]
        with slow_commit(stack, render_id) as lose:
            worker = threading.Thread(target=run, args=(stack, render_id))
            worker.start()
            lose()
            worker.join()
    kept = [f"renders/{account.id}/{render_id}/1/{name}.jpg" for name in ("picture", "thumbnail")]
    assert files_of(account, render_id) == kept
    stack.sql("UPDATE renders SET lease_until = now(), sweep_at = now() WHERE id = :id::uuid RETURNING 1", id=render_id)
    assert account.finished(render_id)["status"] == "succeeded"
    assert account.credits() == {"available": 99, "held": 0, "spent": 1}
