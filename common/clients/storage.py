"""Cloud Storage: signed URLs and the few calls that the domain makes.

google-cloud-storage is imported on first use. Locally (`STORAGE_ENDPOINT`) the calls are anonymous and URLs
are signed with `STORAGE_SIGNING_KEY_FILE`; in the cloud `signBlob` signs, so that no key file exists.
A failure of Cloud Storage is `errors.Unavailable`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common import clock
from common.config import settings
from common.errors import Unavailable

PUBLIC_ENDPOINT = "https://storage.googleapis.com"
#: From the full hour that a URL is signed in: 5 to 6 h are left. A signature by `signBlob` ends after 12.
LIFETIME = timedelta(hours=6)
TIMEOUT_S = 10
RETRY_FOR_S = 20
#: Each signature may be a call to `signBlob` (20 to 50 ms): a list's are made side by side.
SIGNERS = 16
SIGN_TIMEOUT_S = 4.0


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL that is good until `expires_at` for a request with just these `headers`."""

    url: str
    headers: Mapping[str, str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Stat:
    """What Cloud Storage knows of an object. `md5` is base64."""

    size: int
    md5: str
    generation: int


def upload_url(name: str, content_type: str, max_bytes: int) -> SignedUrl:
    """Where a resumable upload of `name` starts: a POST with the headers and an empty body.

    It starts none where the object exists already. Whether Cloud Storage enforces the size here is not
    known: verify it at completion.
    """
    headers = {
        "Content-Type": content_type,
        "x-goog-content-length-range": f"1,{max_bytes}",
        "x-goog-if-generation-match": "0",
        "x-goog-resumable": "start",
    }
    return _signed("RESUMABLE", name, headers)


def read_url(name: str) -> SignedUrl:
    """Where `name` may be read, by anybody who has the URL; through the CDN when there is one."""
    return _signed("GET", name, {})


def read_urls(names: Sequence[str]) -> list[SignedUrl]:
    """`read_url` of each, signed side by side."""
    if len(names) <= 1:
        return [read_url(name) for name in names]
    with ThreadPoolExecutor(min(SIGNERS, len(names))) as threads:
        return list(threads.map(read_url, names))


def find(name: str) -> Stat | None:
    """The object's size, MD5 and generation, or None when there is no such object."""
    with _talking():
        blob = _bucket().get_blob(name, timeout=TIMEOUT_S, retry=_retry())
        return Stat(size=blob.size, md5=blob.md5_hash or "", generation=blob.generation) if blob else None


def read_start(name: str, generation: int, length: int) -> bytes:
    """At most the first `length` bytes of that generation. FileNotFoundError when it is gone."""
    return _read(name, generation, end=length - 1)


def read_end(name: str, generation: int, length: int) -> bytes:
    """At most the last `length` bytes of that generation. FileNotFoundError when it is gone."""
    return _read(name, generation, start=-length)


def read(name: str, generation: int) -> bytes:
    """The whole object of that generation. FileNotFoundError when it is gone."""
    return _read(name, generation)


def write(name: str, data: bytes, content_type: str) -> None:
    """Store an object; what had the name is replaced. Cloud Storage verifies its MD5."""
    with _talking():
        _bucket().blob(name).upload_from_string(
            data, content_type=content_type, checksum="md5", timeout=TIMEOUT_S * 6, retry=_retry()
        )


def delete(name: str, generation: int | None = None) -> None:
    """Delete the object (of that generation only, when one is named), if there is one."""
    from google.api_core.exceptions import NotFound, PreconditionFailed

    with _talking():
        try:
            _bucket().blob(name).delete(if_generation_match=generation, timeout=TIMEOUT_S, retry=_retry())
        except (NotFound, PreconditionFailed):
            return


def _read(name: str, generation: int, start: int | None = None, end: int | None = None) -> bytes:
    from google.api_core.exceptions import NotFound

    with _talking():
        try:
            data: bytes = (
                _bucket()
                .blob(name, generation=generation)
                .download_as_bytes(start=start, end=end, timeout=TIMEOUT_S * 6, retry=_retry())
            )
        except NotFound:
            raise FileNotFoundError(name) from None
        return data


def _signed(method: str, name: str, headers: dict[str, str]) -> SignedUrl:
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    url = _sign(method, name, tuple(headers.items()), hour)
    return SignedUrl(url, headers, hour + LIFETIME)


@lru_cache(maxsize=10_000)
def _sign(method: str, name: str, headers: tuple[tuple[str, str], ...], hour: datetime) -> str:
    """The V4 signed URL that begins with `hour`: the same in every process, so that an ETag stays."""
    # The public `Blob.generate_signed_url` begins with the present second and has no parameter for it.
    from google.cloud.storage._signing import generate_signed_url_v4

    with _talking():
        url: str = generate_signed_url_v4(
            **_address(method, name),
            expiration=LIFETIME,
            method=method,
            headers=dict(headers),  # it adds Host to what it is given
            _request_timestamp=f"{hour:%Y%m%dT%H%M%SZ}",
            credentials=_signer(),
        )
    return url


def _address(method: str, name: str) -> dict[str, str]:
    """The object's host and path. Behind a CDN the host stands for the bucket, and only reads go through it."""
    config = settings()
    if config.cdn_domain and method == "GET":
        return {"resource": f"/{quote(name)}", "api_access_endpoint": f"https://{config.cdn_domain}"}
    resource = f"/{config.require('gcs_bucket')}/{quote(name)}"
    return {"resource": resource, "api_access_endpoint": config.storage_endpoint or PUBLIC_ENDPOINT}


@cache
def _signer() -> Any:
    """Credentials that sign: by the local key, else by `signBlob` with the service account's own token."""
    from google.auth.crypt import RSASigner
    from google.auth.iam import Signer
    from google.oauth2.service_account import Credentials

    config = settings()
    account = config.require("storage_signing_account")
    if config.signing_key_file:
        pem = Path(config.signing_key_file).read_text(encoding="ascii")
        signer = RSASigner.from_string(pem)  # type: ignore[no-untyped-call]  # Google's
    else:
        signer = Signer(_signing_requests(), _cloud_credentials(), account)  # type: ignore[no-untyped-call]  # Google's
    return Credentials(signer, account, "")  # type: ignore[no-untyped-call]  # Google's


def _signing_requests() -> Any:
    """What calls `signBlob`: twice at most, each with its deadline, as whoever waits may hold a transaction open.

    google-auth's own deadline is 120 s. A connection that was kept and has ended is no reason to fail.
    """
    from google.auth.transport.requests import Request
    from requests import Session
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = Session()
    retry = Retry(total=1, allowed_methods=None, respect_retry_after_header=False)
    session.mount("https://", HTTPAdapter(pool_maxsize=SIGNERS, max_retries=retry))
    return partial(Request(session), timeout=SIGN_TIMEOUT_S)


@cache
def _cloud_credentials() -> Any:
    import google.auth

    return google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0]


@cache
def _bucket() -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    config = settings()
    if config.storage_endpoint:
        anybody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # Google's
        client = Client("local", credentials=anybody, client_options={"api_endpoint": config.storage_endpoint})
    else:
        client = Client(project=config.google_cloud_project or None)
    return client.bucket(config.require("gcs_bucket"))


def _retry() -> Any:
    """Cloud Storage's own rule of what may be tried again, for less time: somebody is waiting."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(RETRY_FOR_S)


@contextmanager
def _talking() -> Iterator[None]:
    """Whatever fails between us and Cloud Storage, the service is unavailable."""
    import requests
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, requests.RequestException) as e:
        raise Unavailable(f"Cloud Storage does not answer: {e!r}", headers={"Retry-After": "5"}) from e
