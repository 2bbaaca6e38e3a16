"""Failures are counted by the network that one customer has."""

import os
import subprocess
import sys

import pytest

from common.auth.failures import network_of
from tests.conftest import ROOT

COUNT = """
import sys
from common.auth.failures import counted
from common.errors import Unauthenticated
print(*(counted(Unauthenticated(), address).status for address in sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_network_is_an_ipv4_address_or_the_64_bits_that_one_customer_has(address, network):
    assert network_of(address) == network


def test_no_other_address_of_the_same_network_gets_around_the_count(database):
    addresses = [f"2001:db8:1:2::{n}" for n in range(1, 6)]
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *addresses, "2001:db8:1:3::1"],
        cwd=ROOT,
        env=dict(os.environ) | {"DATABASE_URL": database.app_url, "FAILURES_PER_MINUTE": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["401", "401", "401", "429", "429", "401"]
