"""The pool, its statements and its transactions, on a real PostgreSQL whose connections are ended by force."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from common import config, db
from common.db import CommitUnknown, ConnectionLost, Pool
from common.errors import Unavailable
from tests.dal.conftest import connect
from tests.support import request

PID = "SELECT pg_backend_pid() AS pid"


@pytest.fixture
def admin(database):
    conn = connect(database.owner_url)
    conn.rows("CREATE TABLE notes (id integer PRIMARY KEY, text text)")
    yield conn
    conn.close()


@pytest.fixture
def make_pool(database):
    made = []

    def make(size=2, **options):
        settings = config.read({"DATABASE_URL": database.owner_url})
        made.append(Pool(lambda: db.open_raw(settings), size, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.drop_idle()


@pytest.fixture
def process_pool(admin, database, monkeypatch):
    """The pool that functions use, on the test's database."""
    monkeypatch.setenv("DATABASE_URL", database.owner_url)
    config.settings.cache_clear()
    db.pool.cache_clear()
    yield db.pool()
    db.pool().drop_idle()
    config.settings.cache_clear()
    db.pool.cache_clear()


def end(admin, pid):
    """End a connection by force, and wait until it is gone."""
    admin.rows("SELECT pg_terminate_backend(:pid::integer, 5000)", pid=pid)


def notes(admin):
    return [row["id"] for row in admin.rows("SELECT id FROM notes ORDER BY id")]


# Statements ---------------------------------------------------------------------------------------------------------


def test_a_statement_is_prepared_once_and_then_costs_one_round_trip(admin, make_pool):
    with make_pool().connection() as conn:
        counts = []
        for number in range(3):
            db.round_trips.set(0)
            assert conn.one("SELECT :n::integer AS n", n=number) == {"n": number}
            counts.append(db.round_trips.get())
        assert counts == [2, 1, 1]
        prepared = conn.rows("SELECT statement FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1::integer%'")
        assert len(prepared) == 1


def test_a_statement_that_failed_can_be_used_again(admin, make_pool):
    with make_pool().connection() as conn:
        with pytest.raises(Exception, match="division by zero"):
            conn.one("SELECT 1 / :n::integer AS n", n=0)
        assert conn.one("SELECT 1 / :n::integer AS n", n=1) == {"n": 1}


def test_a_type_that_changed_under_a_cached_statement_heals(admin, make_pool):
    pool = make_pool()
    read = "SELECT * FROM notes"
    assert pool.run(lambda conn: conn.rows(read)) == []
    admin.rows("ALTER TABLE notes ADD COLUMN more integer")
    admin.rows("INSERT INTO notes VALUES (1, 'a', 2)")
    assert pool.run(lambda conn: conn.rows(read)) == [{"id": 1, "text": "a", "more": 2}]


# Connections that end -----------------------------------------------------------------------------------------------


def by_run(pool):
    return pool.run(lambda conn: conn.one(PID)["pid"])


def by_connection(pool):
    with pool.connection() as conn:
        return conn.one(PID)["pid"]


def by_transaction(pool):
    with pool.connection() as conn, conn.transaction():
        return conn.one(PID)["pid"]


@pytest.mark.parametrize("ask", [by_run, by_connection, by_transaction])
def test_a_connection_that_ended_between_two_requests_is_replaced_unnoticed(admin, make_pool, ask):
    pool = make_pool()
    before = ask(pool)
    end(admin, before)
    assert ask(pool) != before


def test_all_connections_that_ended_are_replaced(admin, make_pool):
    pool, together = make_pool(4), threading.Barrier(4)

    def pid(conn):
        found = conn.one(PID)["pid"]
        together.wait(60)
        return found

    with ThreadPoolExecutor(4) as threads:
        before = set(threads.map(lambda _: pool.run(pid), range(4)))
        for ended in before:
            end(admin, ended)
        after = set(threads.map(lambda _: pool.run(pid), range(4)))
    assert len(before) == len(after) == 4
    assert not before & after


def test_a_transaction_that_lost_its_connection_is_done_once_more_from_its_start(admin, process_pool):
    tries = []

    def work(conn):
        tries.append(conn.one(PID)["pid"])
        conn.rows("INSERT INTO notes VALUES (:n::integer)", n=len(tries))
        if len(tries) == 1:
            end(admin, tries[0])
        conn.rows("INSERT INTO notes VALUES (:n::integer)", n=10 + len(tries))
        return len(tries)

    assert db.in_transaction(work) == 2
    assert notes(admin) == [2, 12]


def test_a_transaction_that_loses_its_connection_twice_is_given_up(admin, process_pool):
    tries = []

    def work(conn):
        tries.append(1)
        end(admin, conn.one(PID)["pid"])
        conn.rows("INSERT INTO notes VALUES (1)")

    with pytest.raises(ConnectionLost) as caught:
        db.in_transaction(work)
    assert (len(tries), notes(admin)) == (2, [])
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")


def test_after_a_commit_whose_outcome_is_unknown_nothing_is_done_again(admin, process_pool):
    admin._raw.execute_simple("""
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION slow()
    """)
    tries, hooks = [], []

    def work(conn):
        tries.append(conn.one(PID)["pid"])
        conn.after_commit(lambda: hooks.append(1))
        conn.rows("INSERT INTO notes VALUES (1)")

    def end_in_commit():
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"
        while not admin.rows(sleeping):
            time.sleep(0.01)
        end(admin, tries[0])

    ending = threading.Thread(target=end_in_commit)
    ending.start()
    with pytest.raises(CommitUnknown):
        db.in_transaction(work)
    ending.join()
    assert (len(tries), hooks) == (1, [])


def test_a_connection_that_was_left_in_the_middle_of_an_answer_is_not_used_again(admin, make_pool):
    """A worker that is told to stop, wherever it is, must not leave its answer to the next one."""
    pool = make_pool(1)

    def stop(*_):
        raise SystemExit

    previous = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(SystemExit), pool.connection() as conn:
            before = conn.one(PID)["pid"]
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            conn.rows("SELECT pg_sleep(2), 'another answer' AS answer")
    finally:
        signal.signal(signal.SIGALRM, previous)
    with pool.connection() as conn:
        assert conn.one("SELECT 'this one' AS answer") == {"answer": "this one"}
        assert conn.one(PID)["pid"] != before


def test_a_server_that_says_nothing_any_more_is_given_up(admin, make_pool):
    with make_pool().connection() as conn:
        conn.set_timeout(0.2)
        with pytest.raises(ConnectionLost):
            conn.rows("SELECT pg_sleep(5)")
        assert not conn.usable


def test_a_connection_that_is_given_up_is_closed_however_long_its_error_is_kept(admin, make_pool):
    with pytest.raises(ConnectionLost) as lost, make_pool().connection() as conn:
        raw = conn._raw._usock
        conn.rows("SELECT pg_terminate_backend(pg_backend_pid())")
    assert lost.traceback
    assert raw.fileno() == -1


def test_a_server_that_is_not_there_is_unavailable():
    pool = Pool(lambda: db.connect_url("postgresql://a:b@127.0.0.1:1/none"), 1)
    with pytest.raises(Unavailable) as caught:
        pool.run(lambda conn: conn.rows("SELECT 1"))
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")


# What is busy -------------------------------------------------------------------------------------------------------


def test_an_exhausted_pool_answers_503_and_when_to_ask_again(admin, make_pool):
    pool = make_pool(1, patience_s=0.1)
    with pool.connection():
        with pytest.raises(Unavailable) as caught, pool.connection():
            pass
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
    assert by_run(pool)


def test_a_failed_block_gives_its_connection_back(admin, make_pool):
    pool = make_pool(1, patience_s=0.1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), pool.connection() as conn, conn.transaction():
            _ = 1 / 0
        with pytest.raises(Exception, match="syntax error"), pool.connection() as conn:
            conn.rows("SELEKT")
    assert by_run(pool)


def test_a_statement_that_takes_too_long_answers_503_and_leaves_the_connection_usable(admin, make_pool):
    with make_pool().connection() as conn:
        conn.rows("SET statement_timeout = 100")
        with pytest.raises(Unavailable) as caught:
            conn.rows("SELECT pg_sleep(5)")
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
        assert conn.one("SELECT 1 AS n") == {"n": 1}


def test_a_request_that_waits_too_long_for_the_database_is_told_when_to_ask_again(stack):
    blocking = stack.connect()
    try:
        with blocking.transaction():
            blocking._raw.execute_simple("LOCK TABLE projects IN ACCESS EXCLUSIVE MODE")
            answer = request(stack.base_url, "GET", "/projects", X_API_Key=stack.api_key)
    finally:
        blocking.close()
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "1")
    assert "projects" not in answer.json["detail"]


# After the commit ---------------------------------------------------------------------------------------------------


def test_what_was_to_happen_after_the_commit_sees_it_and_holds_no_connection(admin, process_pool):
    seen = []

    def work(conn):
        conn.rows("INSERT INTO notes VALUES (1)")
        conn.after_commit(lambda: seen.append(notes(admin)))
        assert seen == []

    db.in_transaction(work)
    with db.transaction() as conn:
        conn.rows("INSERT INTO notes VALUES (2)")
        conn.after_commit(lambda: seen.append(notes(admin)))
        assert len(seen) == 1
    assert seen == [[1], [1, 2]]


def test_nothing_happens_after_what_was_rolled_back(admin, process_pool):
    seen = []
    with pytest.raises(ZeroDivisionError), db.transaction() as conn:
        conn.rows("INSERT INTO notes VALUES (1)")
        conn.after_commit(lambda: seen.append(1))
        _ = 1 / 0
    with db.transaction() as conn:
        conn.rows("INSERT INTO notes VALUES (2)")
    assert (seen, notes(admin)) == ([], [2])


def test_a_hook_that_fails_is_logged_and_changes_nothing(admin, process_pool, caplog):
    seen = []

    def work(conn):
        conn.rows("INSERT INTO notes VALUES (1)")
        conn.after_commit(lambda: 1 / 0)
        conn.after_commit(lambda: seen.append(1))
        return "done"

    assert db.in_transaction(work) == "done"
    assert (seen, notes(admin)) == ([1], [1])
    assert "a hook after the commit failed" in caplog.text


def test_a_transaction_that_is_done_again_runs_its_hooks_once(admin, process_pool):
    tries, seen = [], []

    def work(conn):
        tries.append(1)
        conn.after_commit(lambda: seen.append(len(tries)))
        if len(tries) == 1:
            end(admin, conn.one(PID)["pid"])
        conn.rows("INSERT INTO notes VALUES (1)")

    db.in_transaction(work)
    assert seen == [2]
