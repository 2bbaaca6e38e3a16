"""The addresses that nothing is ever sent to.

An explicit table: `ipaddress.is_global` differs between Python versions and passes, among others, 192.88.99.1,
multicast and NAT64 of the metadata address in 3.11. Sources: the IANA special-purpose registries.
"""

from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

FORBIDDEN_V4 = (
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local, the metadata server among it
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # IETF protocols
    "192.0.2.0/24",  # documentation
    "192.31.196.0/24",  # AS112
    "192.52.193.0/24",  # AMT
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",  # private
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
)
#: Only 2000::/3 is given out as global unicast; these parts of it are not ordinary hosts either.
FORBIDDEN_V6 = (
    "2001::/23",  # IETF protocols: Teredo, ORCHID, benchmarking
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4, whatever it embeds
    "2620:4f:8000::/48",  # AS112
    "3fff::/20",  # documentation
)
GLOBAL_V6 = IPv6Network("2000::/3")
LOOPBACK_V4, LOOPBACK_V6 = IPv4Network("127.0.0.0/8"), IPv6Address("::1")
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_forbidden(text: str) -> bool:
    """Whether nothing may be sent to the address `text`; what is no address is forbidden too."""
    address = _parse(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address is None or isinstance(address, IPv4Address):
        return address is None or any(address in network for network in _v4())
    return address not in GLOBAL_V6 or any(address in network for network in _v6()) or _is_isatap(address)


def is_loopback(text: str) -> bool:
    """Whether the address is this machine's own: 127.0.0.0/8 or ::1, not written in another way."""
    address = _parse(text)
    return address in LOOPBACK_V4 if isinstance(address, IPv4Address) else address == LOOPBACK_V6


def _parse(text: str) -> Address | None:
    """None for what is no address, and for one with a scope id: that is none of the internet's."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def _is_isatap(address: IPv6Address) -> bool:
    """ISATAP (RFC 5214) embeds an IPv4 address after 0:5efe or 200:5efe."""
    return (int(address) >> 32) & 0xFFFFFFFF in _ISATAP


@cache
def _v4() -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(network) for network in FORBIDDEN_V4)


@cache
def _v6() -> tuple[IPv6Network, ...]:
    return tuple(IPv6Network(network) for network in FORBIDDEN_V6)
