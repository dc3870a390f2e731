"""Ids and overlay addresses are these hashes; a change would split every network."""

import hashlib
import ipaddress

from meshnode.codec.records import Kind
from meshnode.mesh.identifiers import (
    network_id_of,
    overlay_ipv6,
    record_id,
    ula_prefix,
)

KEY = bytes(range(32))
HASH = hashlib.blake2s(KEY).digest()
NETWORK_ID = bytes.fromhex("a1b2c3d4e5f60718293a4b5c6d7e8f90")


def test_a_network_is_named_by_its_founders_key() -> None:
    """Its id is the first 16 bytes of BLAKE2s over the key."""
    assert network_id_of(KEY) == HASH[:16]


def test_a_record_is_named_by_kind_and_subject() -> None:
    """So a revocation and a member record about one key are two records."""
    expected = hashlib.blake2s(b"\x04" + KEY).digest()[:8]
    assert record_id(Kind.MEMBER, KEY) == expected
    assert record_id(Kind.REVOCATION, KEY) != expected


def test_a_network_has_a_ula_of_its_own() -> None:
    """A /48 of fd and five bytes of the id."""
    assert str(ula_prefix(NETWORK_ID)) == "fda1:b2c3:d4e5::/48"


def test_members_live_in_the_ula_by_their_key() -> None:
    """The rest of the address is the first ten bytes of BLAKE2s over the key."""
    address = overlay_ipv6(NETWORK_ID, KEY)
    assert address == bytes.fromhex("fda1b2c3d4e5") + HASH[:10]
    network = ipaddress.ip_network(str(ula_prefix(NETWORK_ID)))
    assert ipaddress.IPv6Address(address) in network
