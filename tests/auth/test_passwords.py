"""Passwords: what is stored, what is refused, and that time tells nothing."""

import os
import threading
import time

import pytest

from common.auth import passwords


@pytest.fixture(scope="module")
def stored():
    return passwords.hash_password("correct horse battery staple")


def test_the_right_password_is_verified_and_a_wrong_one_is_not(stored):
    assert passwords.verify(stored, "correct horse battery staple")
    assert not passwords.verify(stored, "correct horse battery stapler")


def test_a_hash_says_its_parameters_and_never_comes_twice(stored):
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.hash_password("correct horse battery staple") != stored


def test_a_hash_of_other_parameters_is_verified_and_asks_to_be_made_again(stored):
    from argon2 import PasswordHasher

    older = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("correct horse battery staple")
    assert passwords.verify(older, "correct horse battery staple")
    assert passwords.needs_rehash(older)
    assert not passwords.needs_rehash(stored)


def test_nobody_has_no_password():
    assert not passwords.verify(None, "")
    assert not passwords.verify(None, "correct horse battery staple")
    assert not passwords.verify(None, passwords._DUMMY)


def test_the_dummy_costs_what_a_hash_of_today_costs():
    assert not passwords.needs_rehash(passwords._DUMMY)


def test_an_unknown_user_takes_as_long_as_a_wrong_password(stored):
    passwords.verify(None, "warm up")
    took = {None: [], stored: [], "$argon2id$not-a-hash": []}
    for _ in range(7):
        for password_hash, times in took.items():
            start = time.thread_time()  # one lane of argon2 is this thread's own work
            passwords.verify(password_hash, "wrong")
            times.append(time.thread_time() - start)
    # The fastest of each: what else runs on this machine only ever adds.
    fastest = [min(times) for times in took.values()]
    assert max(fastest) < 1.5 * min(fastest), fastest


@pytest.mark.parametrize(
    "broken",
    ["x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=1,t=1,p=1$a$b", passwords._DUMMY[:40]],
)
def test_an_unreadable_hash_is_nobodys_password_and_the_log_says_so_without_the_hash(broken, caplog):
    assert not passwords.verify(broken, "password")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "a stored password hash cannot be read")
    ]


@pytest.mark.parametrize("password", ["", "\0", "a\0b", "\ud800", "пароль-пароль", "🦊" * 128, "x" * 1_000_000])
def test_odd_passwords_fail_like_any_wrong_one(stored, password):
    assert not passwords.verify(stored, password)


def test_a_password_is_not_cut_at_a_nul_or_at_any_length():
    long = "a\0" + "b" * 126
    stored = passwords.hash_password(long)
    assert passwords.verify(stored, long)
    assert not passwords.verify(stored, "a")
    assert not passwords.verify(stored, long[:-1])


@pytest.mark.parametrize("password", ["", "seven77", "x" * 129])
def test_a_password_of_another_length_than_8_to_128_is_refused(password):
    with pytest.raises(ValueError, match="8 to 128"):
        passwords.check_policy(password)


@pytest.mark.parametrize("password", ["password", "PassWord1", "12345678", "qwertyuiop", "sketchup", "Renderiq"])
def test_a_common_password_is_refused_in_any_case(password):
    with pytest.raises(ValueError, match="common"):
        passwords.check_policy(password)


@pytest.mark.parametrize("password", ["a fine day", "x" * 128, "пароль-дня", "zqzqzqzq"])
def test_any_other_password_is_fine_whatever_it_is_composed_of(password):
    passwords.check_policy(password)


def test_the_list_of_common_passwords_has_only_what_the_length_would_let_through():
    words = passwords._common()
    assert len(words) > 1000
    assert [word for word in words if len(word) < passwords.MIN_LENGTH or word != word.lower()] == []


def test_no_more_hashes_run_at_once_than_there_are_processors(stored):
    permits = passwords._AT_ONCE._initial_value
    assert permits == os.cpu_count()
    done = threading.Event()
    waiting = threading.Thread(target=lambda: (passwords.verify(stored, "wrong"), done.set()))
    for _ in range(permits):
        passwords._AT_ONCE.acquire()
    try:
        waiting.start()
        assert not done.wait(0.4)
    finally:
        for _ in range(permits):
            passwords._AT_ONCE.release()
    assert done.wait(30)
    waiting.join()


def test_a_failing_verification_gives_its_turn_back(stored):
    for _ in range(3 * passwords._AT_ONCE._initial_value):
        passwords.verify("not a hash", "wrong")
    assert passwords.verify(stored, "correct horse battery staple")
