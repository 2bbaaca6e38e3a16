"""The ledger: whatever happens in whatever order, balance, entries and renders agree, and nothing is paid twice."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from common.dal import credits, render_work
from common.domain import renders
from common.domain.credits import _differences
from common.domain.render_task import ATTEMPTS
from common.errors import Conflict, PaymentRequired
from common.schemas.renders import CreateRender

QUALITIES = {"draft": 1, "standard": 2, "high": 4}
ENDS = {"succeeded": "captured", "failed": "released", "canceled": "released", "expired": "released"}
PICTURE = {"role": "picture", "object": "renders/a.jpg", "contentType": "image/jpeg", "bytes": 1, "sha256": "0"}
#: What a worker comes back with.
RESULTS = {
    "succeeded": {"files": [PICTURE | {"width": 1, "height": 1}]},
    "failed": {"error": {"code": "c", "message": "", "retryable": True}},
}
CAPTURED_WITHOUT_AN_ENTRY = """
    UPDATE renders SET status = 'succeeded', hold = 'captured', charged = quoted
    WHERE account_id = :id::uuid AND status = 'queued'
"""


def order(upload, quality="standard"):
    return CreateRender(uploadId=upload, prompt="a room", quality=quality)


def make_machine(database):
    """A machine of its own account; the model beside it knows only what was granted and how each render ended."""

    class Ledger(RuleBasedStateMachine):
        made = Bundle("made")
        work = Bundle("work")

        def __init__(self):
            super().__init__()
            self.stack = ExitStack()
            self.conn = self.stack.enter_context(database.connection())
            self.owners = self.stack.enter_context(database.connection(database.owner_url))
            self.caller = database.account()
            self.upload = database.upload(self.caller)
            self.granted, self.ends, self.price = 0, {}, {}
            self.attempt, self.leased, self.waited = {}, set(), set()

        def teardown(self):
            self.stack.close()

        @initialize(target=made, qualities=st.lists(st.sampled_from(sorted(QUALITIES)), min_size=2, max_size=2))
        def begin(self, qualities):
            self.grant(10)
            return multiple(*(self.create(quality) for quality in qualities))

        @rule(amount=st.integers(1, 4))
        def grant(self, amount):
            with self.conn.transaction():
                credits.grant(self.conn, self.caller.account_id, amount)
            self.granted += amount

        @rule(target=made, quality=st.sampled_from(sorted(QUALITIES)))
        def create(self, quality):
            price, available = QUALITIES[quality], self.balance()["available"]
            body = order(self.upload, quality)
            try:
                with self.conn.transaction():
                    render_id = renders.create(self.conn, self.caller, body).id
            except PaymentRequired as refused:
                assert price > available
                assert refused.members == {"required": price, "available": available}
                return multiple()
            assert price <= available
            self.price[render_id], self.ends[render_id] = price, None
            return render_id

        @rule(target=work, render=made, lost=st.booleans())
        def claim(self, render, lost):
            """A task comes, maybe a second one for the same render, maybe after its worker was lost."""
            if lost:
                self.owner(
                    "UPDATE renders SET lease_until = now() WHERE id = :id::uuid AND lease_until > now()", render
                )
                self.leased.discard(render)
            with self.conn.transaction():
                row = render_work.claim(self.conn, render, ATTEMPTS)
            begun, open_ = self.attempt.get(render, 0), self.ends[render] is None
            in_time = begun > 0 or render not in self.waited
            assert bool(row) == (open_ and in_time and begun < ATTEMPTS and render not in self.leased)
            if row:
                assert row["attempt"] == begun + 1
                self.attempt[render] = row["attempt"]
                self.leased.add(render)
            return row or multiple()

        @rule(render=made)
        def wait_an_hour(self, render):
            self.owner("UPDATE renders SET created_at = created_at - interval '1 hour' WHERE id = :id::uuid", render)
            self.waited.add(render)

        def owner(self, statement, render):
            self.owners.rows(statement + " RETURNING 1", id=render)

        @rule(row=consumes(work), status=st.sampled_from(["succeeded", "failed"]), twice=st.booleans())
        def settle(self, row, status, twice):
            """A worker comes back with its result, perhaps late, perhaps twice."""
            for _ in range(1 + twice):
                self.end(row, status)

        @rule(row=consumes(work))
        def put_back(self, row):
            with self.conn.transaction():
                again = render_work.put_back(self.conn, row["id"], row["attempt"], 0)
            if again:
                assert self.ends[row["id"]] is None
                assert row["attempt"] == self.attempt[row["id"]], "a late worker put it back"
                self.leased.discard(row["id"])

        @rule(render=made)
        def cancel(self, render):
            try:
                with self.conn.transaction():
                    shown = renders.cancel(self.conn, self.caller, render)
                assert (shown.status, shown.cost.charged) == ("canceled", 0)
                self.note(render, "canceled")
            except Conflict as conflict:
                assert conflict.code == "render_already_finished"
                assert self.ends[render]

        @rule(render=made)
        def sweep(self, render):
            """What the sweep and a task that cannot claim do: expire, or give up after the last attempt."""
            with self.conn.transaction():
                if renders.expire_one(self.conn, render):
                    assert render in self.waited - set(self.attempt), "it was begun, or there was time left"
                    self.note(render, "expired")
            with self.conn.transaction():
                lost = render_work.lock_abandoned(self.conn, render, ATTEMPTS)
                if lost and renders.end(self.conn, lost, "failed", **RESULTS["failed"]):
                    assert self.attempt[render] == ATTEMPTS, "it has tries left"
                    assert render not in self.leased, "its last worker is at it"
                    self.note(render, "failed")

        def end(self, row, status):
            with self.conn.transaction():
                if renders.end(self.conn, row, status, **RESULTS[status]):
                    assert row["attempt"] == self.attempt[row["id"]], "a late result was taken"
                    self.note(row["id"], status)

        def note(self, render, status):
            assert self.ends[render] is None, "a render ended twice"
            self.ends[render] = status

        def balance(self):
            return credits.get_balance(self.conn, self.caller.account_id)

        @invariant()
        def the_books_agree_with_the_model(self):
            row = credits.compare(self.conn, self.caller.account_id)
            assert _differences(row) == {}
            held = sum(self.price[r] for r, end in self.ends.items() if end is None)
            spent = sum(self.price[r] for r, end in self.ends.items() if end == "succeeded")
            told = {name: row[name] for name in ("granted", "held", "spent", "available")}
            assert told == {
                "granted": self.granted, "held": held, "spent": spent, "available": self.granted - held - spent,
            }  # fmt: skip

    return Ledger


def test_in_any_order_of_events_balance_entries_and_renders_agree(database):
    quiet = settings(
        max_examples=100, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(make_machine(database), settings=quiet)


def test_sixteen_threads_at_once_leave_books_that_agree(database):
    callers = [database.account(60) for _ in range(2)]
    uploads = {caller.account_id: database.upload(caller) for caller in callers}
    shared = {caller.account_id: [] for caller in callers}

    def step(conn, chance):
        caller = chance.choice(callers)
        made = shared[caller.account_id]
        kind = chance.randrange(6)
        if kind < 2 or not made:
            body = order(uploads[caller.account_id], chance.choice(sorted(QUALITIES)))
            with conn.transaction():
                render = renders.create(conn, caller, body).id
            made.append(render)
        elif kind == 2:
            with conn.transaction():
                renders.cancel(conn, caller, chance.choice(made[-8:]))
        else:
            with conn.transaction():
                row = render_work.claim(conn, chance.choice(made[-8:]), ATTEMPTS)
            if row and kind == 5:
                with conn.transaction():
                    render_work.put_back(conn, row["id"], row["attempt"], 0)
            elif row:
                status = chance.choice(["succeeded", "failed"])
                for _ in range(2):
                    with conn.transaction():
                        renders.end(conn, row, status, **RESULTS[status])

    def work(seed):
        chance, refused = random.Random(seed), 0
        with database.connection() as conn:
            for _ in range(60):
                try:
                    step(conn, chance)
                except (PaymentRequired, Conflict):
                    refused += 1
        return refused

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(work, range(16))) > 0
    with database.connection() as conn:
        for caller in callers:
            row = credits.compare(conn, caller.account_id)
            assert _differences(row) == {}
            assert row["granted"] == 60
            assert row["spent"] > 0
            for render in shared[caller.account_id]:
                kinds = conn.rows(
                    "SELECT e.kind, r.hold FROM credit_entries e JOIN renders r ON r.id = e.render_id"
                    " WHERE r.id = :id::uuid ORDER BY e.id",
                    id=render,
                )
                ended = {"held": [], "captured": ["capture"], "released": ["release"]}[kinds[0]["hold"]]
                assert [row["kind"] for row in kinds] == ["hold", *ended]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE credit_accounts SET available = available - 1, spent = spent + 1 WHERE account_id = :id::uuid",
         {"entries_available", "entries_spent", "renders_spent"}),
        ("UPDATE credit_accounts SET granted = granted + 5, available = available + 5 WHERE account_id = :id::uuid",
         {"entries_available", "entries_granted"}),
        ("DELETE FROM credit_entries WHERE account_id = :id::uuid AND kind = 'hold'",
         {"entries_available", "entries_held", "unsettled"}),
        ("DELETE FROM credit_entries WHERE account_id = :id::uuid AND kind = 'release'",
         {"entries_available", "entries_held", "unsettled"}),
        (CAPTURED_WITHOUT_AN_ENTRY, {"renders_held", "renders_spent", "unsettled"}),
    ],
)  # fmt: skip
def test_whatever_is_changed_behind_the_books_is_found(database, change, told):
    caller = database.account(10)
    body = order(database.upload(caller))
    with database.connection() as conn:
        with conn.transaction():
            renders.cancel(conn, caller, renders.create(conn, caller, body).id)
            renders.create(conn, caller, body)
        assert _differences(credits.compare(conn, caller.account_id)) == {}
        database.sql(change + " RETURNING 1", id=caller.account_id)
        assert set(_differences(credits.compare(conn, caller.account_id))) == told


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit_accounts SET available = available + 1",
        "UPDATE credit_accounts SET available = -1, spent = spent + available + 1",
        "UPDATE renders SET hold = 'released'",
        "UPDATE renders SET status = 'succeeded', hold = 'captured'",
        "UPDATE renders SET status = 'failed'",
        """
        INSERT INTO credit_entries (account_id, kind, amount, available_after, render_id)
        SELECT account_id, 'hold', quoted, 0, id FROM renders
        """,
        """
        INSERT INTO credit_entries (account_id, kind, amount, available_after, render_id)
        SELECT account_id, 'capture', 1, 0, gen_random_uuid() FROM renders
        """,
        """
        INSERT INTO credit_entries (account_id, kind, amount, available_after)
        SELECT account_id, 'release', 1, 0 FROM renders
        """,
    ],
)
def test_the_schema_itself_refuses_books_that_cannot_be(database, statement):
    caller = database.account(10)
    with database.connection() as conn, conn.transaction():
        renders.create(conn, caller, order(database.upload(caller)))
    where = f" WHERE account_id = '{caller.account_id}'"
    with pytest.raises(Exception, match="violates"):
        database.sql(statement + where + " RETURNING 1")


@pytest.mark.parametrize("statement", ["UPDATE credit_entries SET amount = 1", "DELETE FROM credit_entries"])
def test_the_functions_cannot_change_an_entry(database, statement):
    with database.connection() as conn, pytest.raises(Exception, match="permission denied"):
        conn.rows(statement + " RETURNING 1")
