"""The books are compared each night, and by the operator."""

import os
import subprocess
import sys
import time

import pytest

from common.dal import housekeeping
from tests.conftest import ROOT

DAMAGE = (
    "UPDATE credit_accounts SET granted = granted + :n::int, available = available + :n WHERE account_id = :id::uuid"
)


def reconcile(url):
    return subprocess.run(
        [sys.executable, "-m", "tools.reconcile"],
        cwd=ROOT,
        env=dict(os.environ) | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
    )


def test_the_operators_command_names_the_account_and_what_differs(database):
    good, bad = database.account(5), database.account(5)
    database.sql(DAMAGE + " RETURNING 1", n=3, id=bad.account_id)
    done = reconcile(database.app_url)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if str(bad.account_id) in line]
    assert line.endswith("entries_available: 5, not 8  entries_granted: 5, not 8")
    assert str(good.account_id) not in done.stdout
    database.sql(DAMAGE + " RETURNING 1", n=-3, id=bad.account_id)
    assert str(bad.account_id) not in reconcile(database.app_url).stdout


def test_every_account_is_compared_however_many_there_are(database):
    database.sql(
        """
        WITH made AS (
            INSERT INTO accounts (email, name) SELECT gen_random_uuid()::text, '' FROM generate_series(1, 500) RETURNING id
        )
        INSERT INTO credit_accounts (account_id) SELECT id FROM made RETURNING account_id
        """
    )
    last = database.account(5)
    database.sql(DAMAGE + " RETURNING 1", n=3, id=last.account_id)
    assert str(last.account_id) in reconcile(database.app_url).stdout
    database.sql(DAMAGE + " RETURNING 1", n=-3, id=last.account_id)


def test_what_is_done_daily_is_done_once_a_day(database):
    with database.connection() as conn:
        assert [housekeeping.claim_day(conn, "a test") for _ in range(3)] == [True, False, False]
        database.sql("UPDATE housekeeping SET done_at = done_at - interval '1 day' WHERE name = 'a test' RETURNING 1")
        assert [housekeeping.claim_day(conn, "a test") for _ in range(2)] == [True, False]


def test_books_that_cannot_be_read_are_told_in_a_line():
    done = reconcile("postgresql://app:none@127.0.0.1:9/renderiq")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert "cannot connect" in done.stderr


def test_the_sweep_compares_the_books_once_a_day_and_logs_what_differs(stack):
    log = stack.data / "logs" / "gateway.log"

    def wait_for(text):
        end = time.monotonic() + 30
        while text not in log.read_text():
            if time.monotonic() > end:
                pytest.fail(f"{text} was not logged")
            time.sleep(0.1)

    wait_for("event=credits_reconciled")
    account = stack.sql("SELECT id FROM accounts WHERE email = :email::text", email=stack.email)[0]["id"]
    stack.sql(DAMAGE + " RETURNING 1", n=3, id=account)
    before = log.read_text().count("event=credits_reconciled")
    stack.sql("UPDATE housekeeping SET done_at = done_at - interval '1 day' RETURNING 1")
    wait_for(f" E credits_differ event=credits_differ accountId={account}")
    stack.sql(DAMAGE + " RETURNING 1", n=-3, id=account)
    assert log.read_text().count("event=credits_reconciled") <= before + 1
