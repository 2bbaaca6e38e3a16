"""Refresh tokens' text: 256 random bits; only the SHA-256 is kept."""

import hashlib
import secrets

from common.auth.api_keys import base62

PREFIX = "rq_rt_"


def generate() -> str:
    """A new token."""
    return PREFIX + base62(secrets.randbits(256), 43)


def digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()
