"""A connection to somebody else's server: resolved once, vetted, and made to the vetted address.

Names are asked of DNS by dnspython, whose lookups have a deadline: the system's getaddrinfo has none, and a name
server that never answers would leave a thread behind at every attempt. It knows no /etc/hosts and no search domains,
which have no say in where a webhook goes.
"""

import socket
import ssl
import time
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from common.webhooks.addresses import is_forbidden, is_loopback
from common.webhooks.outcome import Deadline, Failed, Outcome, ms_since

if TYPE_CHECKING:
    from dns.resolver import Resolver

#: A name may have thousands of addresses: all are vetted, so many are tried.
MAX_TRIED = 4


def open_(
    outcome: Outcome,
    host: str,
    port: int,
    deadline: Deadline,
    *,
    allow_local: bool,
    resolver: "Resolver | None" = None,
) -> socket.socket:
    """A connection to an address of `host`, whose every address is allowed; `allow_local` allows loopback too."""
    started = time.monotonic()
    addresses = _addresses(host, deadline, resolver)
    outcome.timings.dns_ms = ms_since(started)
    if any(is_forbidden(address) and not (allow_local and is_loopback(address)) for address in addresses):
        raise Failed("address_not_allowed", f"{host} has an address that nothing is sent to")
    started = time.monotonic()
    sock, outcome.remote_address = _connect(addresses[:MAX_TRIED], port, deadline)
    outcome.timings.connect_ms = ms_since(started)
    return sock


def secure(
    outcome: Outcome, sock: socket.socket, host: str, deadline: Deadline, context: ssl.SSLContext
) -> ssl.SSLSocket:
    """TLS over `sock`, which is the name `host`'s."""
    started = time.monotonic()
    sock.settimeout(deadline.left())
    try:
        wrapped = context.wrap_socket(sock, server_hostname=host)
    except TimeoutError:
        raise
    except OSError as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        raise Failed("tls", f"TLS failed: {reason}") from None
    outcome.timings.tls_ms = ms_since(started)
    return wrapped


@cache
def tls_context(trusted: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, verified by the certificates in the file `trusted`, else by the system's.

    Not ssl.create_default_context: that writes the keys of every connection to a file that SSLKEYLOGFILE names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if trusted:
        context.load_verify_locations(trusted)
    else:
        context.load_default_certs()
    return context


def _addresses(host: str, deadline: Deadline, resolver: "Resolver | None") -> list[str]:
    """The addresses of `host`, at least one; IPv4 first, which is what a function on Cloud Run reaches."""
    if host == "localhost":
        return ["127.0.0.1", "::1"]
    try:
        return [str(ip_address(host))]
    except ValueError:
        # The dot keeps search domains out.
        return _look_up(f"{host}.", deadline, resolver)


def _look_up(name: str, deadline: Deadline, resolver: "Resolver | None") -> list[str]:
    from dns.exception import DNSException, Timeout
    from dns.resolver import NXDOMAIN, NoNameservers, get_default_resolver

    found: list[str] = []
    problem = Failed("dns", f"{name[:-1]} has no address")
    try:
        asked = resolver or get_default_resolver()
        for kind in ("A", "AAAA"):
            # Some name servers deny the kind they do not have, or the name with it, or answer nothing (RFC 4074).
            try:
                answer = asked.resolve(name, kind, lifetime=deadline.left() / 3, raise_on_no_answer=False)
            except (NXDOMAIN, NoNameservers):
                continue
            except Timeout:
                problem = Failed("timeout", f"{name[:-1]} could not be resolved in time")
                continue
            found += [record.address for record in answer.rrset or ()]
    except (DNSException, OSError) as error:
        raise Failed("dns", f"{name[:-1]} could not be resolved: {type(error).__name__}") from None
    if not found:
        raise problem
    return found


def _connect(addresses: list[str], port: int, deadline: Deadline) -> tuple[socket.socket, str]:
    """A connection to the first address that takes it, and that address; each has its share of the time left."""
    problem = ""
    for tried, address in enumerate(addresses):
        try:
            sock = socket.create_connection((address, port), deadline.left() / (len(addresses) - tried))
        except OSError as error:
            problem = str(error.strerror or error)
            continue
        try:
            check_peer(sock, address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return sock, address
    deadline.left()
    raise Failed("connect", f"no connection: {problem}")


def check_peer(sock: socket.socket, address: str) -> None:
    """Failed unless `sock` is connected to `address`."""
    if ip_address(sock.getpeername()[0]) != ip_address(address):
        raise Failed("address_not_allowed", "the connection went elsewhere than it was sent")
