"""Webhook secrets at rest: Fernet, several keys during a rotation. cryptography is imported on first use."""

from collections.abc import Sequence
from typing import Any


class SealedError(Exception):
    """A secret that no configured key opens, or keys that are none."""


def seal(secret: str, keys: Sequence[str]) -> bytes:
    """`secret`, encrypted with the first key."""
    sealed: bytes = _fernet(keys).encrypt(secret.encode())
    return sealed


def open_(sealed: bytes, keys: Sequence[str]) -> str:
    """The secret, decrypted with whichever key it was sealed by. SealedError when none of them did."""
    from cryptography.fernet import InvalidToken

    try:
        return str(_fernet(keys).decrypt(sealed).decode())
    except (InvalidToken, ValueError):
        # Without the error: it may hold a part of what was to be a key.
        raise SealedError("no configured key opens this webhook's secret") from None


def _fernet(keys: Sequence[str]) -> Any:
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(key) for key in keys])
