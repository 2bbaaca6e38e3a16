"""API keys' text: a prefix, 192 random bits and a checksum, as GitHub's tokens have it.

`rq_sk_live_` + 33 base62 characters + 6 base62 characters of the CRC32 of all that precedes: 50 in all. The
checksum is looked at before anything else, so that garbage never costs a query. 192 random bits need no slow hash.
"""

import hashlib
import re
import secrets
import string
import zlib

PREFIXES = ("rq_sk_live_", "rq_sk_test_")
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARS, CHECK_CHARS = 33, 6
_SHAPE = re.compile(f"(?:{'|'.join(PREFIXES)})[0-9A-Za-z]{{{RANDOM_CHARS + CHECK_CHARS}}}")


def generate(prefix: str) -> str:
    """A new secret. ValueError for a prefix that `well_formed` would refuse afterwards."""
    if prefix not in PREFIXES:
        raise ValueError(f"an API key begins with {' or '.join(PREFIXES)}, not {prefix!r}")
    text = prefix + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))
    return text + _checksum(text)


def well_formed(text: str) -> bool:
    """Whether `text` can be a key of ours: its shape and its checksum."""
    return bool(_SHAPE.fullmatch(text)) and text[-CHECK_CHARS:] == _checksum(text[:-CHECK_CHARS])


def digest(secret: str) -> bytes:
    """What is stored of a secret: its SHA-256."""
    return hashlib.sha256(secret.encode()).digest()


def hint(secret: str) -> str:
    """What people recognise a well-formed key by: `rq_sk_live_0I7A…jqjT`. The end is the checksum's."""
    end = secret.rindex("_") + 5
    return f"{secret[:end]}…{secret[-4:]}"


def _checksum(text: str) -> str:
    return base62(zlib.crc32(text.encode()), CHECK_CHARS)


def base62(number: int, width: int) -> str:
    """`number` in base 62, padded with zeros to `width` characters."""
    digits = ""
    while number:
        number, rest = divmod(number, len(ALPHABET))
        digits = ALPHABET[rest] + digits
    return digits.rjust(width, ALPHABET[0])
