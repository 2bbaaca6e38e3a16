"""The addresses that nothing is sent to: each range at its edges, and against an oracle that knows no table."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.webhooks.addresses import is_forbidden, is_loopback

#: Each range's first and last address; the addresses beside it, where they are the internet's.
V4_RANGES = [
    ("0.0.0.0", "0.255.255.255", ["1.0.0.0"]),
    ("10.0.0.0", "10.255.255.255", ["9.255.255.255", "11.0.0.0"]),
    ("100.64.0.0", "100.127.255.255", ["100.63.255.255", "100.128.0.0"]),
    ("127.0.0.0", "127.255.255.255", ["126.255.255.255", "128.0.0.0"]),
    ("169.254.0.0", "169.254.255.255", ["169.253.255.255", "169.255.0.0"]),
    ("172.16.0.0", "172.31.255.255", ["172.15.255.255", "172.32.0.0"]),
    ("192.0.0.0", "192.0.0.255", ["191.255.255.255", "192.0.1.0"]),
    ("192.0.2.0", "192.0.2.255", ["192.0.1.255", "192.0.3.0"]),
    ("192.31.196.0", "192.31.196.255", ["192.31.195.255", "192.31.197.0"]),
    ("192.52.193.0", "192.52.193.255", ["192.52.192.255", "192.52.194.0"]),
    ("192.88.99.0", "192.88.99.255", ["192.88.98.255", "192.88.100.0"]),
    ("192.168.0.0", "192.168.255.255", ["192.167.255.255", "192.169.0.0"]),
    ("192.175.48.0", "192.175.48.255", ["192.175.47.255", "192.175.49.0"]),
    ("198.18.0.0", "198.19.255.255", ["198.17.255.255", "198.20.0.0"]),
    ("198.51.100.0", "198.51.100.255", ["198.51.99.255", "198.51.101.0"]),
    ("203.0.113.0", "203.0.113.255", ["203.0.112.255", "203.0.114.0"]),
    ("224.0.0.0", "255.255.255.255", ["223.255.255.255"]),
]
V6_RANGES = [
    ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", []),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", ["2000:ffff::1", "2001:200::"]),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", ["2001:db7:ffff::1", "2001:db9::"]),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ["2001:ffff::1", "2003::"]),
    ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", ["2620:4f:7fff::1", "2620:4f:8001::"]),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", ["3ffe:ffff::1", "3fff:1000::"]),
    ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", []),
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.215.14",
    "34.120.0.1",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
    "2001:4860::8",
]
FORBIDDEN_V4 = [IPv4Network(cidr) for first, last, _ in V4_RANGES
                for cidr in ipaddress.summarize_address_range(IPv4Address(first), IPv4Address(last))]  # fmt: skip

anywhere_v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
anywhere_v6 = st.integers(0, 2**128 - 1).map(IPv6Address)
#: Near an edge of a range, where a wrong prefix shows.
near_an_edge = st.builds(
    lambda edge, step: IPv4Address((int(IPv4Address(edge)) + step) % 2**32),
    st.sampled_from([edge for first, last, _ in V4_RANGES for edge in (first, last)]),
    st.integers(-300, 300),
)
any_v4 = st.one_of(anywhere_v4, near_an_edge)


@pytest.mark.parametrize(("first", "last", "beside"), V4_RANGES + V6_RANGES)
def test_a_range_is_forbidden_from_its_first_to_its_last_address_and_not_beside(first, last, beside):
    assert is_forbidden(first)
    assert is_forbidden(last)
    assert [address for address in beside if is_forbidden(address)] == []


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address):
    assert not is_forbidden(address)


@pytest.mark.parametrize(
    "address",
    [
        # what ipaddress.is_global of Python 3.11 passes
        *("192.0.0.8", "192.88.99.1", "224.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "3fff::1", "fec0::1"),
        # metadata servers
        *("169.254.169.254", "fd20:ce::254", "fd00:ec2::254", "::ffff:169.254.169.254", "100.100.100.200"),
        # addresses that hold another
        *("::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "::10.0.0.1", "::7f00:1", "64:ff9b:1::a00:1", "2001:0:a00:1::"),
        *("2606:4700::5efe:a00:1", "2606:4700::200:5efe:a00:1", "fe80::5efe:a00:1", "2002:7f00:1::1"),
        # scopes, multicast, discard, SRv6
        *("fe80::1%eth0", "2606:4700::1%eth0", "8.8.8.8%eth0", "ff02::1", "100::1", "5f00::1"),
    ],
)
def test_an_address_that_leads_inside_is_forbidden(address):
    assert is_forbidden(address)


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "8.8.8", "8.8.8.8 ", "08.8.8.8", "8.8.8.8/32",
     "８.8.8.8", "1.2.3.4.5", "2606:4700:::1", "[2606:4700::1]", "example.com"],
)  # fmt: skip
def test_what_is_no_address_is_forbidden(text):
    assert is_forbidden(text)


@given(any_v4)
def test_an_ipv4_address_is_forbidden_exactly_when_a_range_has_it(address):
    assert is_forbidden(str(address)) == any(address in network for network in FORBIDDEN_V4)


@given(any_v4)
@example(IPv4Address("192.0.0.1"))
def test_what_python_does_not_call_global_is_forbidden(address):
    if not address.is_global or address.is_multicast:
        assert is_forbidden(str(address))


@given(anywhere_v6)
def test_an_ipv6_address_that_python_does_not_call_global_is_forbidden(address):
    if not address.is_global or address not in IPv6Network("2000::/3"):
        assert is_forbidden(str(address)) or address.ipv4_mapped


@given(any_v4)
def test_an_ipv4_address_mapped_to_ipv6_is_judged_as_itself(address):
    assert is_forbidden(f"::ffff:{address}") == is_forbidden(str(address))


@given(any_v4, st.integers(0, 2**64 - 1))
def test_no_ipv6_address_that_holds_an_ipv4_address_is_allowed(v4, rest):
    """Compatible, NAT64, 6to4, Teredo (which holds it inverted) and ISATAP, whatever it holds."""
    held, site = int(v4), 0x2606_4700 << 96 | (rest >> 32) << 64
    for number in (
        held,
        0xFFFF << 48 | held,
        0x0064_FF9B << 96 | held,
        0x0064_FF9B_0001 << 80 | (rest & 0xFFFF) << 32 | held,
        0x2002 << 112 | held << 80 | rest,
        0x2001_0000 << 96 | rest << 32 | held ^ 0xFFFFFFFF,
        site | 0x0000_5EFE << 32 | held,
        site | 0x0200_5EFE << 32 | held,
    ):
        assert is_forbidden(str(IPv6Address(number))), IPv6Address(number)


@given(st.sampled_from(["2600::/12", "2a00::/12", "2400::/12", "2800::/12", "2c00::/12"]), st.integers(0, 2**116 - 1))
def test_an_ipv6_address_that_a_registry_gave_out_is_allowed(prefix, host):
    address = IPv6Address(int(IPv6Network(prefix).network_address) | host)
    special = address in IPv6Network("2620:4f:8000::/48") or (host >> 32) & 0xFDFFFFFF == 0x5EFE
    assert is_forbidden(str(address)) == special


@pytest.mark.parametrize("text", ["127.0.0.1", "127.255.255.255", "127.0.0.0", "::1", "0:0:0:0:0:0:0:1"])
def test_this_machine_s_own_addresses_are_loopback(text):
    assert is_loopback(text)
    assert is_forbidden(text)


@pytest.mark.parametrize(
    "text",
    ["128.0.0.0", "126.255.255.255", "0.0.0.0", "::", "::2", "::ffff:127.0.0.1", "::1%lo", "::127.0.0.1", "127.1",
     "localhost", "", "10.0.0.1"],
)  # fmt: skip
def test_nothing_else_is_loopback(text):
    assert not is_loopback(text)
