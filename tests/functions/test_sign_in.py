"""Signing in tells nobody anything, and guessing ends soon, without locking the owner out."""

import json
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from uuid import uuid4

import pytest

from common.dal import accounts as accounts_dal
from tests.conftest import start_stack, stop_stack
from tests.support import Tenant, accounts, request

TRIES = 200
addresses = (f"127.0.{n // 250}.{n % 250 + 2}" for n in count(1))


def sign_in(stack, email, password, **more):
    return request(stack.base_url, "POST", "/auth/signin", body={"email": email, "password": password}, **more)


def lock(stack, email):
    """What a minute of guessing from this address does to its bucket for the account."""
    stack.sql(
        """
        INSERT INTO attempt_limits (bucket, arrival)
        VALUES ('signin:127.0.0.1:' || encode(sha256(:email::text::bytea), 'hex'), now() + interval '69 seconds')
        ON CONFLICT (bucket) DO UPDATE SET arrival = excluded.arrival RETURNING 1
        """,
        email=email,
    )


@pytest.fixture(scope="module")
def people(stack):
    """Each way not to be let in: an e-mail address and a password by its name."""
    known, disabled, locked = Tenant(stack), Tenant(stack), Tenant(stack)
    accounts(stack, "disable", disabled.email)
    return {
        "unknown": lambda: (f"{uuid4().hex}@example.com", known.password),
        "wrong password": lambda: (known.email, "not the password"),
        "disabled": lambda: (disabled.email, disabled.password),
        "locked": lambda: (locked.email, locked.password),
    }


def test_whoever_is_refused_gets_the_same_answer(stack, people):
    lock(stack, people["locked"]()[0])
    answers = {name: sign_in(stack, *person(), X_Request_Id="the-same-request") for name, person in people.items()}
    assert {answer.status for answer in answers.values()} == {401}
    assert len({answer.body for answer in answers.values()}) == 1
    told = [sorted(dict(answer.headers)) for answer in answers.values()]
    assert told.count(told[0]) == len(told)


def measured(stack, people):
    """The median time of each, of `TRIES` rounds in any order; in a round's mean, for other work comes and goes."""
    taken = {name: [] for name in people}
    for n in range(TRIES):
        if n % 5 == 0:
            lock(stack, people["locked"]()[0])
        times = {name: seconds(stack, *people[name]()) for name in random.sample(list(people), len(people))}
        for name, time_s in times.items():
            taken[name].append(time_s / statistics.fmean(times.values()))
    return {name: statistics.median(shares) for name, shares in taken.items()}


def seconds(stack, email, password):
    started = time.perf_counter()
    assert sign_in(stack, email, password).status == 401
    return time.perf_counter() - started


@pytest.mark.timeout(900)
def test_whoever_is_refused_waits_for_the_same_time(stack, people):
    """A noisy machine may spoil a round of measuring; a difference that is there shows in all of them."""
    for _ in range(5):
        medians = measured(stack, people)
        if max(medians.values()) <= 1.05 * min(medians.values()):
            return
    pytest.fail(f"the medians differ by more than 5 %: {medians}")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A stack with small limits: what a slow machine lets drain between two tries is less than one."""
    limits = {"SIGNINS_PER_MINUTE_OF_ACCOUNT_AND_ADDRESS": "3", "SIGNINS_PER_MINUTE_OF_ACCOUNT": "4"}
    running = start_stack(tmp_path_factory.mktemp("guarded"), SIGNINS_PER_MINUTE_OF_ADDRESS="6", **limits)
    yield running
    stop_stack(running)


def guess(stack, email, times, source):
    return [sign_in(stack, email, f"guess {n}", source=source) for n in range(times)]


def test_an_address_that_guesses_for_many_accounts_is_told_to_wait(guarded):
    here = next(addresses)
    answers = [sign_in(guarded, f"{uuid4().hex}@example.com", "a guess", source=here) for _ in range(9)]
    assert [answer.status for answer in answers[:6]] == [401] * 6
    last = answers[-1]
    assert (last.status, last.code) == (429, "rate_limited")
    assert 0 < last.json["retryAfter"] == int(last.headers["Retry-After"]) <= 10, "one in ten seconds passes"
    assert "RateLimit" not in last.headers


def test_guessing_from_one_address_locks_the_account_there_only(guarded):
    tenant, here, there = Tenant(guarded), next(addresses), next(addresses)
    guess(guarded, tenant.email, 4, here)
    assert sign_in(guarded, tenant.email, tenant.password, source=here).code == "invalid_credentials"
    assert sign_in(guarded, tenant.email, tenant.password, source=there).status == 200


def test_guessing_from_many_addresses_locks_the_account_for_strangers_but_not_for_its_own_network(guarded):
    tenant, home, stranger = Tenant(guarded), next(addresses), next(addresses)
    assert sign_in(guarded, tenant.email, tenant.password, source=home).status == 200
    neighbour = Tenant(guarded)
    assert sign_in(guarded, neighbour.email, neighbour.password, source=stranger).status == 200
    for _ in range(3):
        guess(guarded, tenant.email, 2, next(addresses))
    assert sign_in(guarded, tenant.email, tenant.password, source=stranger).code == "invalid_credentials"
    assert [sign_in(guarded, tenant.email, tenant.password, source=home).status for _ in range(3)] == [200] * 3
    assert sign_in(guarded, tenant.email, tenant.password, source=stranger).code == "invalid_credentials"
    guarded.sql(
        "UPDATE sessions SET created_at = now() - interval '91 days' WHERE account_id = :id::uuid RETURNING 1",
        id=tenant.id,
    )
    assert sign_in(guarded, tenant.email, tenant.password, source=home).code == "invalid_credentials"


def test_a_lock_ends_by_itself(guarded):
    tenant, here = Tenant(guarded), next(addresses)
    guess(guarded, tenant.email, 4, here)
    guarded.sql("UPDATE attempt_limits SET arrival = arrival - interval '1 minute' RETURNING 1")
    assert sign_in(guarded, tenant.email, tenant.password, source=here).status == 200


@pytest.mark.parametrize("at", ["now() + interval '1 year'", "now() - interval '1 hour'"])
def test_a_count_that_is_garbage_or_old_starts_anew(guarded, at):
    here = next(addresses)
    guarded.sql(f"INSERT INTO attempt_limits VALUES (:bucket::text, {at}) RETURNING 1", bucket=f"signin:{here}")
    answers = [sign_in(guarded, f"{uuid4().hex}@example.com", "a guess", source=here) for _ in range(9)]
    assert (answers[0].status, answers[-1].status) == (401, 429)


def test_a_good_sign_in_forgives_no_guesses_at_another_account(guarded):
    guessed, neighbour, here = Tenant(guarded), Tenant(guarded), next(addresses)
    guess(guarded, guessed.email, 4, here)
    assert [sign_in(guarded, neighbour.email, neighbour.password, source=here).status for _ in range(3)] == [200] * 3
    assert sign_in(guarded, guessed.email, guessed.password, source=here).code == "invalid_credentials"


def test_a_good_sign_in_costs_nothing(guarded):
    tenant, here = Tenant(guarded), next(addresses)
    assert [sign_in(guarded, tenant.email, tenant.password, source=here).status for _ in range(9)] == [200] * 9


def test_a_client_cannot_say_from_where_it_calls(guarded):
    here = next(addresses)
    answers = [
        sign_in(guarded, f"{uuid4().hex}@example.com", "a guess", source=here, X_Forwarded_For=f"198.51.100.{n}")
        for n in range(9)
    ]
    assert answers[-1].status == 429


@pytest.mark.parametrize("written", [str.upper, lambda email: email.replace("i", "\u0130")], ids=["upper", "dotted I"])
def test_limits_hold_for_an_email_address_however_it_is_written(guarded, written):
    """Whatever finds the account is the account's: PostgreSQL's lower case of a dotted I is an i, Python's is not."""
    tenant, here = Tenant(guarded, email=f"iris.{uuid4().hex}@example.com"), next(addresses)
    assert sign_in(guarded, written(tenant.email), tenant.password, source=here).status == 200
    guess(guarded, written(tenant.email), 4, here)
    assert sign_in(guarded, tenant.email, tenant.password, source=here).code == "invalid_credentials"


def test_a_password_of_old_parameters_is_hashed_anew_when_its_owner_signs_in(stack):
    from argon2 import PasswordHasher

    tenant = Tenant(stack)
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(tenant.password)
    stack.sql("UPDATE accounts SET password_hash = :h::text WHERE id = :id::uuid RETURNING 1", h=old, id=tenant.id)
    assert tenant.sign_in().status == 200
    now = stack.sql("SELECT password_hash FROM accounts WHERE id = :id::uuid", id=tenant.id)[0]["password_hash"]
    assert "m=19456,t=2,p=1" in now
    assert tenant.sign_in().status == 200


def test_a_password_that_was_changed_meanwhile_is_not_put_back(stack):
    tenant, conn = Tenant(stack), stack.connect()
    try:
        accounts_dal.update_password_hash(conn, tenant.id, "the hash that it was checked by", "the same, made anew")
    finally:
        conn.close()
    assert tenant.sign_in().status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"email": "a@example.com"},
        {"email": "", "password": "x"},
        {"email": "a@example.com", "password": ""},
        {"email": "a@example.com", "password": "x" * 1025},
        {"email": "a\x00@example.com", "password": "x"},
        {"email": "a@example.com", "password": "x", "device": "d" * 101},
        {"email": "a@example.com", "password": "x", "cookie": "yes"},
    ],
    ids=json.dumps,
)
def test_a_sign_in_that_cannot_be_is_told_so(stack, body):
    refused = request(stack.base_url, "POST", "/auth/signin", body=body)
    assert (refused.status, refused.code) == (422, "invalid_request")
    assert "x" * 100 not in refused.body.decode()


def test_an_account_that_is_disabled_at_the_same_moment_keeps_no_session(stack):
    tenant, conn = Tenant(stack), stack.connect()
    by = {"id": tenant.id}
    try:
        with ThreadPoolExecutor(1) as thread:
            with conn.transaction():
                conn.one("UPDATE accounts SET disabled_at = now() WHERE id = :id::uuid RETURNING 1", **by)
                signing_in = thread.submit(tenant.sign_in)
                until_it_waits_or_is(signing_in, stack)
                conn.rows("UPDATE sessions SET ended_at = now() WHERE account_id = :id::uuid RETURNING 1", **by)
            assert signing_in.result().code == "invalid_credentials"
    finally:
        conn.close()
    assert stack.sql("SELECT 1 FROM sessions WHERE account_id = :id::uuid AND ended_at IS NULL", **by) == []


def until_it_waits_or_is(done, stack):
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
    end = time.monotonic() + 20
    while not done.done() and not stack.sql(waiting) and time.monotonic() < end:
        time.sleep(0.02)
