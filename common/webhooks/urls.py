"""Which URLs a webhook may have, as far as the URL itself tells; addresses are checked when it is used."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from common.webhooks.addresses import is_loopback

MAX_LENGTH = 2048
HTTPS_PORT, FIRST_UNPRIVILEGED_PORT = 443, 1024
#: Top-level names that are nobody's in the public DNS (IANA's special-use names), or its own machinery.
NOT_PUBLIC = ("localhost", "local", "internal", "invalid", "test", "onion", "alt", "arpa")
_BRACKETED = re.compile(r"\[[^\[\]]+\](?::[0-9]*)?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LOOKS_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)


class UrlNotAllowed(ValueError):
    """Why nothing is sent to a URL, in words for its owner."""


def check_url(url: str, *, allow_local: bool) -> None:
    """UrlNotAllowed unless `url` is https to a named host on 443 or a port from 1024.

    `allow_local` lets http and this machine's own addresses pass, for development.
    """
    parts = _split(url)
    host = parts.hostname or ""
    local = allow_local and (host == "localhost" or is_loopback(host))
    if parts.scheme != "https" and not (local and parts.scheme == "http"):
        raise UrlNotAllowed("it must be https")
    if parts.username is not None or parts.password is not None:
        raise UrlNotAllowed("it must not hold credentials")
    if not local:
        _check_host(host, parts.netloc)
        _check_port(parts)


def _split(url: str) -> SplitResult:
    if len(url) > MAX_LENGTH:
        raise UrlNotAllowed(f"it has more than {MAX_LENGTH} characters")
    if not url.isascii() or re.search(r"[\x00-\x20\x7f\\#]", url):
        raise UrlNotAllowed("it must be plain ASCII without spaces, backslashes or a fragment")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UrlNotAllowed("it is not a URL") from None
    if "[" in parts.netloc and not _BRACKETED.fullmatch(parts.netloc):
        # urlsplit takes the host of [::1].example.com to be ::1.
        raise UrlNotAllowed("it is not a URL")
    return parts


def _check_host(host: str, netloc: str) -> None:
    if "[" in netloc or _is_address(host):
        raise UrlNotAllowed("it must have a host name, not an address")
    labels = host.split(".")
    if len(host) > 253 or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004
        raise UrlNotAllowed("its host is not a public host name")
    if _LOOKS_NUMERIC.fullmatch(labels[-1]):
        raise UrlNotAllowed("its host is an address written another way")
    if labels[-1] in NOT_PUBLIC:
        raise UrlNotAllowed("its host is not a public host name")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _check_port(parts: SplitResult) -> None:
    port = parts.port
    if port is not None and port != HTTPS_PORT and port < FIRST_UNPRIVILEGED_PORT:
        raise UrlNotAllowed("its port must be 443, or 1024 and above")
