"""Passwords: argon2id with OWASP's parameters. argon2 is imported on first use."""

import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

MIN_LENGTH, MAX_LENGTH = 8, 128
#: A hash takes 19 MiB and a core: more at once than there are cores only waits.
_AT_ONCE = threading.BoundedSemaphore(os.cpu_count() or 1)


def hash_password(password: str) -> str:
    """The PHC string of `password`."""
    with _AT_ONCE:
        text: str = _hasher().hash(password)
    return text


def verify(password_hash: str | None, password: str) -> bool:
    """Whether `password` is the one. Without a hash the same work is done, for the same time, and it is not."""
    from argon2.exceptions import InvalidHashError, VerifyMismatchError

    with _AT_ONCE:
        try:
            _hasher().verify(password_hash or _dummy(), password)
        except (VerifyMismatchError, InvalidHashError):
            return False
    return password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return bool(_hasher().check_needs_rehash(password_hash))


def check_policy(password: str) -> None:
    """ValueError for a password that is too short, too long or too common. No rules of composition (NIST 800-63B)."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise ValueError(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    if password.lower() in _common():
        raise ValueError("this password is among the most common ones")


@cache
def _hasher() -> Any:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


@cache
def _dummy() -> str:
    return str(_hasher().hash("the password of nobody"))


@cache
def _common() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text().split())
