"""V4 signed URLs: verified as Cloud Storage verifies them.

https://cloud.google.com/storage/docs/authentication/canonical-requests. The path is signed as it was sent, undecoded.
"""

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from tools.local.storage.errors import StorageError

ALGORITHM = "GOOG4-RSA-SHA256"
MAX_EXPIRES_S = 7 * 86400
CLOCK_SKEW_S = 900
#: What a client library or a proxy may add without having signed it.
UNSIGNED = ("x-goog-api-client",)
_SAFE = "-_.~"


@dataclass(frozen=True)
class Claim:
    """What the query says of its signature. `begins` is Unix seconds, `lifetime` seconds."""

    email: str
    scope: str
    stamp: str
    begins: float
    lifetime: int
    signed: Sequence[str]
    signature: bytes


def verify(signers: Mapping[str, Any], method: str, path: str, query: str, headers: Mapping[str, str]) -> None:
    """StorageError unless one of `signers` (e-mail to RSA public key) signed this request, and it is still good.

    `path` and `query` as they were sent, `headers` by lower-case name. A URL that is signed for GET is good for HEAD.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    claim = _claim({name.lower(): value for name, value in pairs})
    _check_time(claim)
    _check_headers(claim.signed, headers)
    verbs = ("GET", "HEAD") if method == "HEAD" else (method,)
    requests = [_canonical(claim, verb, path, pairs, headers) for verb in verbs]
    if not any(_is_signed(signers.get(claim.email), claim, request) for request in requests):
        raise StorageError(
            403,
            "SignatureDoesNotMatch",
            "Access denied.",
            Details="The request signature we calculated does not match the signature you provided."
            " Check your Google secret key and signing method.",
            StringToSign=_to_sign(claim, requests[-1]),
            CanonicalRequest=requests[-1],
        )


def _claim(sent: Mapping[str, str]) -> Claim:
    if sent.get("x-goog-algorithm") != ALGORITHM:
        details = "Anonymous caller does not have storage access. Permission denied on resource (or it may not exist)."
        raise StorageError(403, "AccessDenied", "Access denied.", Details=details)
    scope = _required(sent, "credential", r"([^/]+)/(\d{8}/[a-z0-9-]+/storage/goog4_request)")
    stamp = _required(sent, "date", r"(\d{8})T\d{6}Z")
    lifetime = int(_required(sent, "expires", r"\d{1,9}")[0])
    signature = bytes.fromhex(_required(sent, "signature", r"(?:[0-9a-fA-F]{2})+")[0])
    signed = _required(sent, "signedheaders", r"[!-~]+")[0].split(";")
    try:
        begins = datetime.strptime(stamp[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _malformed("x-goog-date", "It is no date.") from None
    if not scope[2].startswith(stamp[1]):
        raise _malformed("x-goog-credential", "The credential's date is not the date of the request.")
    if not 0 < lifetime <= MAX_EXPIRES_S:
        raise _malformed("x-goog-expires", f"It must be between 1 and {MAX_EXPIRES_S}.")
    return Claim(scope[1], scope[2], stamp[0], begins, lifetime, signed, signature)


def _required(sent: Mapping[str, str], name: str, pattern: str) -> re.Match[str]:
    """A parameter that fits. StorageError 400 when it is missing or malformed."""
    found = re.fullmatch(pattern, sent.get(f"x-goog-{name}", ""), re.ASCII)
    if not found:
        raise _malformed(f"x-goog-{name}", "It is missing or malformed.")
    return found


def _check_time(claim: Claim) -> None:
    if claim.begins > time.time() + CLOCK_SKEW_S:
        message = "The difference between the request time and the server's time is too large."
        raise StorageError(403, "RequestTimeTooSkewed", message)
    ends = claim.begins + claim.lifetime
    if time.time() > ends:
        when = datetime.fromtimestamp(ends, UTC).isoformat()
        details = f"The provided token has expired. Request signature expired at: {when}"
        raise StorageError(400, "ExpiredToken", "Invalid argument.", Details=details)


def _check_headers(signed: Sequence[str], headers: Mapping[str, str]) -> None:
    """What was signed must be sent, and what Cloud Storage acts on must be signed."""
    if "host" not in signed:
        raise _malformed("host", "It must be among the signed headers.")
    for name in signed:
        if name not in headers:
            raise _malformed(name, "Header was included in signedheaders, but not in the request.")
    for name in headers:
        if name.startswith("x-goog-") and name not in (*signed, *UNSIGNED):
            raise _malformed(name, "Header was included in the request, but not in signedheaders.")


def _malformed(name: str, details: str) -> StorageError:
    message = "Your request has a malformed header."
    return StorageError(400, "MalformedSecurityHeader", message, ParameterName=name, Details=details)


def _canonical(
    claim: Claim, method: str, path: str, pairs: Sequence[tuple[str, str]], headers: Mapping[str, str]
) -> str:
    query = "&".join(
        f"{quote(name, safe=_SAFE)}={quote(value, safe=_SAFE)}"
        for name, value in sorted(pairs)
        if name.lower() != "x-goog-signature"
    )
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in claim.signed)
    payload = headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD")
    return "\n".join([method, path, query, lines, ";".join(claim.signed), payload])


def _to_sign(claim: Claim, request: str) -> str:
    return "\n".join([ALGORITHM, claim.stamp, claim.scope, hashlib.sha256(request.encode()).hexdigest()])


def _is_signed(key: Any, claim: Claim, request: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    if key is None:
        return False
    try:
        key.verify(claim.signature, _to_sign(claim, request).encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
