"""IPv4 behind a NAT64."""

import ipaddress

import pytest

from meshnode.mesh.nat64 import behind_nat64, prefix_of
from meshnode.types import Endpoint

WELL_KNOWN = ipaddress.IPv6Address("64:ff9b::").packed[:12]


@pytest.mark.parametrize("last", ["c000:aa", "c000:ab"])
def test_the_prefix_is_what_is_before_the_known_address(last: str) -> None:
    """Whichever of the two it is."""
    assert prefix_of(["2001:db8::1", f"64:ff9b::{last}"]) == WELL_KNOWN


def test_without_nat64_there_is_none() -> None:
    """Nor with an address that somebody made up."""
    assert prefix_of([]) is None
    assert prefix_of(["2001:db8::c000:ac"]) is None


def test_endpoints_keep_their_port() -> None:
    """As RFC 6052 has it for 96 bits."""
    there = behind_nat64(WELL_KNOWN, Endpoint("192.0.2.33", 7))
    assert there == Endpoint("64:ff9b::c000:221", 7)
