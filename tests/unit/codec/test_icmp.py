"""Destination-unreachable messages for our own host."""

import ipaddress
import struct

import pytest

from meshnode.codec import ip
from meshnode.codec.checksum import residue
from meshnode.codec.icmp import unreachable


def v4(
    payload: bytes,
    *,
    protocol: int = 17,
    source: str = "10.0.0.1",
    destination: str = "10.0.0.2",
    fragment: int = 0,
) -> bytes:
    """Build an IPv4 packet; its own checksum does not matter here."""
    addresses = b"".join(ipaddress.ip_address(a).packed for a in (source, destination))
    header = struct.pack(
        ">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0
    )
    return header + addresses + payload


def v6(
    payload: bytes,
    *,
    protocol: int = 17,
    source: str = "fd00::1",
    destination: str = "fd00::2",
) -> bytes:
    """Build an IPv6 packet."""
    addresses = b"".join(ipaddress.ip_address(a).packed for a in (source, destination))
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + (
        addresses + payload
    )


def test_v4_answer() -> None:
    """Host unreachable goes to the sender, with good checksums and the quote."""
    packet = v4(bytes(range(16)))
    answer = unreachable(packet)
    assert answer is not None
    assert ip.true_length(answer) == len(answer)
    assert ip.source(answer) == ip.destination(packet)
    assert ip.destination(answer) == ip.source(packet)
    assert answer[9] == 1
    assert answer[20:22] == b"\x03\x01"
    assert answer[28:] == packet
    assert residue(answer[:20]) == 0
    assert residue(answer[20:]) == 0


def test_v6_answer() -> None:
    """Address unreachable goes to the sender, checksum over the pseudo-header."""
    packet = v6(bytes(range(16)))
    answer = unreachable(packet)
    assert answer is not None
    assert ip.true_length(answer) == len(answer)
    assert ip.source(answer) == ip.destination(packet)
    assert ip.destination(answer) == ip.source(packet)
    assert answer[40:42] == b"\x01\x03"
    assert answer[48:] == packet
    pseudo = answer[8:40] + struct.pack(">II", len(answer) - 40, 58)
    assert residue(pseudo + answer[40:]) == 0


@pytest.mark.parametrize(("make", "most"), [(v4, 576), (v6, 1280)])
def test_answers_are_bounded(make: type, most: int) -> None:
    """A long packet is quoted in part only."""
    answer = unreachable(make(bytes(1300)))
    assert answer is not None
    assert len(answer) == most


@pytest.mark.parametrize(
    "packet",
    [
        v4(b"\x03\x01" + bytes(30), protocol=1),
        v4(b"\x0b\x00" + bytes(30), protocol=1),
        v4(b"", protocol=1),
        v4(bytes(8), fragment=1),
        v4(bytes(8), fragment=0x2100),
        v4(bytes(8), destination="224.0.0.1"),
        v4(bytes(8), destination="255.255.255.255"),
        v4(bytes(8), source="0.0.0.0"),
        v4(bytes(8), source="240.0.0.1"),
        v6(b"\x01\x00" + bytes(30), protocol=58),
        v6(b"", protocol=58),
        v6(bytes(8), destination="ff02::1"),
        v6(bytes(8), source="::"),
    ],
)
def test_no_answer_where_none_may_be_given(packet: bytes) -> None:
    """Errors, later fragments, multicast and unspecified addresses stay unanswered."""
    assert unreachable(packet) is None


@pytest.mark.parametrize(
    "packet",
    [
        v4(b"\x08\x00" + bytes(30), protocol=1),
        v4(bytes(8), fragment=0x2000),
        v4(bytes(8), fragment=0x4000),
        v6(b"\x80\x00" + bytes(30), protocol=58),
    ],
)
def test_questions_and_first_fragments_are_answered(packet: bytes) -> None:
    """A ping gets its answer; so does the first fragment."""
    assert unreachable(packet) is not None
