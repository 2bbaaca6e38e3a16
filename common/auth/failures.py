"""Failed authentication, counted by the network that it comes from."""

import ipaddress
import math

from common import db
from common.auth.limits import WINDOW_S
from common.config import settings
from common.dal import callers
from common.errors import Problem, RateLimited


def counted(problem: Problem, address: str) -> Problem:
    """`problem`, or RateLimited when its address has failed too often. One round trip."""
    bucket, interval_s = f"failures:{network_of(address)}", WINDOW_S / settings().failures_rate
    wait_s = db.pool().run(lambda conn: callers.attempt(conn, bucket, interval_s))
    return too_often("requests", wait_s) if wait_s > 0 else problem


def too_often(what: str, wait_s: float) -> RateLimited:
    """What an address is told whose `what` have failed too often."""
    seconds = math.ceil(wait_s)
    return RateLimited(
        f"Too many failed {what} from this address; try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
        retry_after=seconds,
        violated_policies=["address"],
    )


def network_of(address: str) -> str:
    """An IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
