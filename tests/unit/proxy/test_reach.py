"""Where members may go through an exit."""

from ipaddress import ip_address, ip_network

import pytest

from meshnode.proxy.reach import members_may_reach

OWN = {ip_address("198.51.100.1"), ip_address("2001:db8::1")}
MESH = [ip_network("10.9.0.0/16"), ip_network("fd00:9::/32")]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.0.0.1", "169.254.169.254"),
        *("224.0.0.251", "255.255.255.255", "240.0.0.1", "198.51.100.1", "10.9.1.2"),
        *("::1", "::", "fe80::1", "ff02::1", "2001:db8::1", "fd00:9::7"),
        *("::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:198.51.100.1"),
        *("::ffff:10.9.0.1", "::ffff:169.254.1.1"),
    ],
)
def test_closed(address: str) -> None:
    """The exit itself, the link, groups, and the mesh; however it is written."""
    assert not members_may_reach(ip_address(address), own=OWN, closed=MESH)


@pytest.mark.parametrize(
    "address",
    [
        *("198.51.100.2", "192.168.1.1", "10.8.0.1", "2001:db8::2", "fd00:8::1"),
        *("::ffff:198.51.100.2", "64:ff9b::c633:6402"),
    ],
)
def test_open(address: str) -> None:
    """All else, the exit's networks and those behind NAT64 included."""
    assert members_may_reach(ip_address(address), own=OWN, closed=MESH)
