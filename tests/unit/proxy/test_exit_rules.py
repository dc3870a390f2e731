"""Where an exit carries members to."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.proxy.exit_rules import ExitRules, is_beyond_host
from meshnode.types import Prefix

RULES = ExitRules(
    ["198.51.100.1", "2001:db8::1", "192.168.1.1"],
    [Prefix.parse("10.77.0.0/16"), Prefix.parse("fd12:3456:789a::/48")],
    [
        Prefix.parse("192.168.1.0/24"),
        Prefix.parse("0.0.0.0/0"),
        Prefix.parse("::/0"),
        Prefix.parse("fd99::/16"),
    ],
)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "198.51.100.2", "2606:4700::1111", "2001:db8::2"),
        # Announced LANs.
        *("192.168.1.2", "fd99::5", "::ffff:192.168.1.2"),
        # What means a public IPv4 address.
        *("::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"),
    ],
)
def test_public_and_announced(address: str) -> None:
    """That is what an exit is for."""
    assert RULES.permits(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        # Nobody, this host, its links, groups.
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.9", "169.254.169.254"),
        *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "fe80::1", "fec0::1", "ff02::1"),
        # Its own addresses, however they are written.
        *("198.51.100.1", "::ffff:198.51.100.1", "64:ff9b::c633:6401"),
        *("2001:db8::1", "192.168.1.1", "2002:c633:6401::"),
        # LANs that nobody announced.
        *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.2.1", "100.64.0.1"),
        *("fc00::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"),
        *("2002:a00:1::", "64:ff9b:1::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
        # The mesh.
        *("10.77.0.1", "10.77.255.255", "fd12:3456:789a::1", "::ffff:10.77.0.1"),
    ],
)
def test_what_its_owner_keeps(address: str) -> None:
    """And no spelling of it leads there."""
    assert not RULES.permits(ipaddress.ip_address(address))


@given(address=st.ip_addresses())
def test_never_what_python_calls_local(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """The standard library is the oracle for what is nobody else's."""
    local = address.is_loopback or address.is_link_local or address.is_multicast
    if local or address.is_unspecified:
        assert not RULES.permits(address)
        assert not is_beyond_host(address)


@pytest.mark.parametrize(
    ("address", "beyond"),
    [
        ("127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", True),
        ("1.1.1.1", True),
        ("fd00::1", True),
    ],
)
def test_beyond_this_host(address: str, beyond: bool) -> None:
    """For who comes from elsewhere to a listener of ours."""
    assert is_beyond_host(ipaddress.ip_address(address)) == beyond
