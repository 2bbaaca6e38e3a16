"""Passwords: argon2id with OWASP's parameters. argon2 is imported on first use.

`common_passwords.txt` holds the thousand most common passwords of eight and more characters (the order is that of
zxcvbn's frequency list) and those that our own products' names suggest; one a line, in lower case.
"""

import logging
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

MIN_LENGTH, MAX_LENGTH = 8, 128
#: The hash of a random text that nobody kept, made with today's parameters. It stands here, and is not made on first
#: use, so that the first unknown user of a process does not take twice as long as a known one.
_DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$4eyFan0X8pGrKnB3CqaMjA$FXgCFldKIcHzG9f/uMfIEKsn+mYGd+Kc7yRk393Gkwg"
#: A hash takes 19 MiB and a core: more at once than there are cores only waits.
_AT_ONCE = threading.BoundedSemaphore(os.cpu_count() or 1)


def hash_password(password: str) -> str:
    """The PHC string of `password`."""
    with _AT_ONCE:
        text: str = _hasher().hash(_bytes(password))
    return text


def verify(password_hash: str | None, password: str) -> bool:
    """Whether `password` is the one. Without a hash the same work is done, for the same time, and it is not.

    A stored hash that cannot be read is nobody's password either; it is logged as an error, not told to the caller,
    who would learn from it that the account exists.
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    with _AT_ONCE:
        try:
            return _matches(password_hash or _DUMMY, password) and password_hash is not None
        except (InvalidHashError, VerificationError):
            # When it is the host that failed, for want of memory, the dummy fails as well, and that is raised.
            logging.getLogger(__name__).error("a stored password hash cannot be read")  # noqa: TRY400 - no hash in logs
            _matches(_DUMMY, password)
            return False


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return bool(_hasher().check_needs_rehash(password_hash))


def check_policy(password: str) -> None:
    """ValueError for a password that is too short, too long or too common. No rules of composition (NIST 800-63B)."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise ValueError(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    if password.lower() in _common():
        raise ValueError("this password is among the most common ones")


def _matches(password_hash: str, password: str) -> bool:
    from argon2.exceptions import VerifyMismatchError

    try:
        return bool(_hasher().verify(password_hash, _bytes(password)))
    except VerifyMismatchError:
        return False


def _bytes(password: str) -> bytes:
    """UTF-8; a lone surrogate, which JSON can carry, is no reason to fail."""
    return password.encode("utf-8", "surrogatepass")


@cache
def _hasher() -> Any:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


@cache
def _common() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text(encoding="utf-8").split())
