"""Webhook secrets at rest: Fernet, several keys during a rotation. cryptography is imported on first use."""

from collections.abc import Sequence
from typing import Any


def seal(secret: str, keys: Sequence[str]) -> bytes:
    """`secret`, encrypted with the first key."""
    sealed: bytes = _fernet(keys).encrypt(secret.encode())
    return sealed


def open_(sealed: bytes, keys: Sequence[str]) -> str:
    """The secret, decrypted with whichever key it was sealed by. ValueError when none of them did."""
    from cryptography.fernet import InvalidToken

    try:
        return str(_fernet(keys).decrypt(sealed).decode())
    except InvalidToken:
        raise ValueError("no configured key opens this webhook's secret") from None


def _fernet(keys: Sequence[str]) -> Any:
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(key) for key in keys])
