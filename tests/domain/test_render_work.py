"""A render's work: what its worker is given, how long it is the worker's, and what it says to those who wait."""

import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common import config, db
from common.clients import storage
from common.dal import render_work
from common.domain import events, render_task, renders
from common.domain.render_task import ATTEMPTS, Lease, LostError
from common.schemas.renders import CreateRender

ENDS = [
    ("succeeded", "render.completed"), ("failed", "render.failed"), ("expired", "render.failed"),
    ("canceled", "render.canceled"),
]  # fmt: skip
PICTURE = {"role": "picture", "object": "renders/a.jpg", "contentType": "image/jpeg", "bytes": 1, "sha256": "0"}
RESULTS = {
    "succeeded": {"files": [PICTURE | {"width": 1, "height": 1}]},
    "failed": {"error": {"code": "c", "message": "", "retryable": True}},
    "expired": {"error": {"code": "c", "message": "", "retryable": True}},
    "canceled": {},
}


@pytest.fixture
def caller(database):
    return database.account(100)


@pytest.fixture
def conn(database):
    with database.connection() as conn:
        yield conn


@pytest.fixture
def functions(database, monkeypatch):
    """Functions on the test's database."""
    monkeypatch.setenv("DATABASE_URL", database.app_url)
    cached = (config.settings, db.pool)
    for found in cached:
        found.cache_clear()
    yield
    db.pool().drop_idle()
    for found in cached:
        found.cache_clear()


def order(database, conn, caller, **more):
    body = CreateRender(uploadId=more.pop("uploadId", None) or database.upload(caller), prompt="a room", **more)
    with conn.transaction():
        return renders.create(conn, caller, body)


def row_of(database, render):
    return database.sql("SELECT * FROM renders WHERE id = :id::uuid", id=render.id)[0]


def claim(conn, render):
    with conn.transaction():
        return render_work.claim(conn, render.id, ATTEMPTS)


def upload_of(database, caller, purpose, generation):
    found = database.upload(caller)
    return database.sql(
        "UPDATE uploads SET purpose = :purpose::text, object_name = account_id || :purpose, generation = :g::bigint"
        " WHERE id = :id::uuid RETURNING id",
        purpose=purpose,
        g=generation,
        id=found,
    )[0]["id"]


def test_a_worker_is_given_what_was_ordered_and_each_file_by_its_purpose(database, conn, caller):
    sent = {
        name: upload_of(database, caller, purpose, generation)
        for generation, (name, purpose) in enumerate(
            {"uploadId": "snapshot", "depthUploadId": "depth", "normalUploadId": "normal"}.items(), 11
        )
    }
    render = order(database, conn, caller, style="oak", quality="high", seed=0, geometryFidelity=0, **sent)
    assert (render.seed, render.geometry_fidelity) == (0, 0)
    row = claim(conn, render)
    wanted = {"prompt": "a room", "style": "oak", "quality": "high", "seed": 0, "geometry_fidelity": 0}
    assert {name: row[name] for name in wanted} == wanted
    for generation, purpose in enumerate(("snapshot", "depth", "normal"), 11):
        assert row[purpose] == f"{caller.account_id}{purpose}"
        assert row[f"{purpose}_generation"] == generation


def test_a_lease_is_half_a_minute_and_the_sweep_looks_after_it(database, conn, caller):
    render = order(database, conn, caller)
    look = "SELECT lease_until - now() AS lease, sweep_at - now() AS sweep FROM renders WHERE id = :id::uuid"
    with conn.transaction():
        row = render_work.claim(conn, render.id, ATTEMPTS)
        claimed = conn.one(look, id=render.id)
    with conn.transaction():
        assert render_work.renew(conn, render.id, row["attempt"], "grade")
        renewed = conn.one(look, id=render.id)
    assert claimed == renewed == {"lease": timedelta(seconds=30), "sweep": timedelta(seconds=40)}


def test_a_render_was_begun_when_its_first_attempt_was(database, conn, caller):
    render = order(database, conn, caller)
    claim(conn, render)
    begun = row_of(database, render)["started_at"]
    with conn.transaction():
        render_work.put_back(conn, render.id, 1, 0)
    assert claim(conn, render)["attempt"] == 2
    assert row_of(database, render)["started_at"] == begun


def test_what_a_worker_brings_after_another_has_begun_is_not_taken(database, conn, caller):
    render = order(database, conn, caller)
    late = claim(conn, render)
    end_lease(database, render)
    assert claim(conn, render)["attempt"] == 2
    with conn.transaction():
        assert not render_work.renew(conn, render.id, late["attempt"], "finish")
        assert render_work.put_back(conn, render.id, late["attempt"], 0) is None
        assert renders.end(conn, late, "succeeded", **RESULTS["succeeded"]) is None
    assert row_of(database, render)["status"] == "processing"


def test_a_render_is_given_up_after_its_last_attempt_when_nobody_is_at_it(database, conn, caller):
    render = order(database, conn, caller)
    found = []
    for _ in range(ATTEMPTS):
        assert claim(conn, render)
        found.append(render_work.lock_abandoned(conn, render.id, ATTEMPTS))
        end_lease(database, render)
    assert found == [None] * ATTEMPTS
    assert claim(conn, render) is None
    assert render_work.lock_abandoned(conn, render.id, ATTEMPTS)["attempt"] == ATTEMPTS


def test_an_hour_is_the_time_to_begin_and_not_to_end(database, conn, caller):
    begun, never = (order(database, conn, caller) for _ in range(2))
    claim(conn, begun)
    with conn.transaction():
        render_work.put_back(conn, begun.id, 1, 0)
        assert not renders.expire_one(conn, never.id)
    database.sql(
        "UPDATE renders SET created_at = now() - interval '61 minutes' WHERE account_id = :id::uuid RETURNING 1",
        id=caller.account_id,
    )
    assert claim(conn, never) is None
    with conn.transaction():
        assert [renders.expire_one(conn, render.id) for render in (begun, never)] == [False, True]
    assert claim(conn, begun)["attempt"] == 2


def test_a_render_that_is_put_back_is_due_after_its_pause_and_swept_after_that(database, conn, caller):
    render = order(database, conn, caller)
    claim(conn, render)
    with conn.transaction():
        again = render_work.put_back(conn, render.id, 1, 20)
        now = conn.one("SELECT now()")["now"]
    assert again["due_at"] - now == timedelta(seconds=20)
    assert row_of(database, render)["sweep_at"] - now == timedelta(seconds=30)


@pytest.mark.parametrize(("status", "event"), ENDS)
def test_what_is_over_is_told_by_its_event_and_no_longer_looked_after(database, conn, caller, status, event):
    database.sql(
        "INSERT INTO plugin_webhooks (account_id, url, events) VALUES (:id::uuid, 'https://a.example/', :e::text[])"
        " RETURNING id",
        id=caller.account_id,
        e=list(events.EVENTS),
    )
    render = order(database, conn, caller)
    row = claim(conn, render)
    with conn.transaction():
        ended = renders.end(conn, row, status, **RESULTS[status])
    assert ended["completed_at"] > ended["started_at"]
    assert not render_work.renew(conn, render.id, row["attempt"], "grade")
    kept = row_of(database, render)
    assert (kept["stage"], kept["sweep_at"], kept["lease_until"]) == (status, None, None)
    told = database.sql("SELECT event_type FROM webhook_deliveries WHERE account_id = :id::uuid", id=caller.account_id)
    assert [delivery["event_type"] for delivery in told] == [event]


def test_who_polls_all_of_an_accounts_open_renders_may_do_so_in_half_of_its_limit(database, conn, caller):
    """By default 300 a minute: each open render may be asked for 150 times a minute among them."""
    other = database.account(100)
    for _ in range(6):
        order(database, conn, other)
    made = [order(database, conn, caller) for _ in range(6)]
    assert [render.headers()["Retry-After"] for render in made] == ["1", "1", "2", "2", "2", "3"]
    assert renders.get(conn, caller, made[0].id).headers()["Retry-After"] == "3"
    with conn.transaction():
        renders.cancel(conn, caller, made[1].id)
    assert renders.get(conn, caller, made[0].id).headers()["Retry-After"] == "2"


def wait_until(true):
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def end_lease(database, render):
    database.sql("UPDATE renders SET lease_until = now() WHERE id = :id::uuid RETURNING 1", id=render.id)


def is_leased(database, render):
    return database.sql("SELECT lease_until > now() AS yes FROM renders WHERE id = :id::uuid", id=render.id)[0]["yes"]


def test_a_lease_is_renewed_for_as_long_as_its_worker_works(database, conn, caller, functions):
    render = order(database, conn, caller)
    with Lease(claim(conn, render), every_s=0.05):
        for _ in range(2):
            end_lease(database, render)
            wait_until(lambda: is_leased(database, render))
    end_lease(database, render)
    assert not is_leased(database, render)


def test_a_lease_that_could_not_be_renewed_once_is_renewed_the_next_time(database, conn, caller, functions, caplog):
    render = order(database, conn, caller)
    row = claim(conn, render)
    with Lease(row, every_s=0.05):
        database.sql("ALTER ROLE app NOLOGIN")
        try:
            database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            wait_until(lambda: "a lease was not renewed" in caplog.text)
        finally:
            database.sql("ALTER ROLE app LOGIN")
        end_lease(database, render)
        wait_until(lambda: is_leased(database, render))


class Refusing(BaseHTTPRequestHandler):
    """A Cloud Storage that is overloaded at first, and then does not permit it."""

    def do_GET(self):
        self.send_error(self.server.statuses.pop(0))

    def log_message(self, *_):
        pass


@pytest.fixture
def refusing_storage(functions, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.statuses = [503, 403]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("GCS_BUCKET", "media")
    monkeypatch.setenv("STORAGE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    cached = (config.settings, storage._bucket)
    for found in cached:
        found.cache_clear()
    yield server
    storage._bucket().client._http.close()
    for found in cached:
        found.cache_clear()
    server.shutdown()
    server.server_close()


def test_files_that_cannot_be_read_are_asked_for_again_and_then_worth_another_try(
    database, conn, caller, refusing_storage
):
    render = order(database, conn, caller)
    render_task.run(render.id)
    assert refusing_storage.statuses == []
    row = row_of(database, render)
    assert (row["status"], row["attempt"], row["hold"]) == ("queued", 1, "held")


def test_a_worker_hears_between_two_stages_that_its_render_was_canceled(database, conn, caller, functions):
    render = order(database, conn, caller)
    with Lease(claim(conn, render)) as lease:
        lease.report("grade")
        assert row_of(database, render)["stage"] == "grade"
        with conn.transaction():
            renders.cancel(conn, caller, render.id)
        with pytest.raises(LostError):
            lease.report("finish")
    assert row_of(database, render)["stage"] == "canceled"
