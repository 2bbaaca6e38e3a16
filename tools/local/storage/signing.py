"""V4 signed URLs: verified as Cloud Storage verifies them.

https://cloud.google.com/storage/docs/authentication/canonical-requests. The path is signed as it was sent, undecoded.
"""

import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from tools.local.storage.errors import StorageError

ALGORITHM = "GOOG4-RSA-SHA256"
MAX_EXPIRES_S = 7 * 86400
CLOCK_SKEW_S = 900
_SAFE = "-_.~"


def verify(signers: Mapping[str, Any], method: str, path: str, query: str, headers: Mapping[str, str]) -> None:
    """StorageError unless one of `signers` (e-mail to RSA public key) signed this request, and it is still good.

    `path` and `query` as they were sent, `headers` by lower-case name.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    sent = {name.lower(): value for name, value in pairs}
    if sent.get("x-goog-algorithm") != ALGORITHM:
        raise StorageError(403, "AccessDenied", "Anonymous caller does not have storage access.")
    try:
        email, scope = sent["x-goog-credential"].split("/", 1)
        stamp, lifetime = sent["x-goog-date"], int(sent["x-goog-expires"])
        signature = bytes.fromhex(sent["x-goog-signature"])
        signed = sent["x-goog-signedheaders"].split(";")
        begins = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (KeyError, ValueError):
        raise StorageError(400, "AuthenticationRequired", "The signed URL's parameters are malformed.") from None
    _check_scope(scope, stamp, signed, lifetime)
    _check_time(begins, lifetime)
    _check_headers(headers, signed)
    canonical_query = "&".join(
        f"{quote(name, safe=_SAFE)}={quote(value, safe=_SAFE)}"
        for name, value in sorted(pairs)
        if name.lower() != "x-goog-signature"
    )
    canonical_headers = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed)
    payload = headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD")
    canonical = "\n".join([method, path, canonical_query, canonical_headers, ";".join(signed), payload])
    to_sign = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    _check_signature(signers.get(email), signature, to_sign.encode())


def _check_scope(scope: str, stamp: str, signed: list[str], lifetime: int) -> None:
    date, _, service = scope.partition("/")
    good = service.endswith("/storage/goog4_request") and stamp.startswith(date) and "host" in signed
    if not good or not 0 < lifetime <= MAX_EXPIRES_S:
        raise StorageError(400, "InvalidArgument", "The credential's scope or the expiry is invalid.")


def _check_time(begins: float, lifetime: int) -> None:
    if begins > time.time() + CLOCK_SKEW_S:
        raise StorageError(403, "AccessDenied", "The signed URL is not valid yet.")
    if time.time() > begins + lifetime:
        raise StorageError(400, "ExpiredToken", "The provided token has expired.")


def _check_headers(headers: Mapping[str, str], signed: list[str]) -> None:
    unsigned = [name for name in headers if name.startswith("x-goog-") and name not in signed]
    if unsigned:
        raise StorageError(400, "MalformedSecurityHeader", f"{unsigned[0]} is not among the signed headers.")


def _check_signature(key: Any, signature: bytes, to_sign: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    try:
        if key is not None:
            key.verify(signature, to_sign, padding.PKCS1v15(), hashes.SHA256())
            return
    except InvalidSignature:
        pass
    raise StorageError(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
    )
