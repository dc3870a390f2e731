"""Splitting the kernel's super-packets."""

import struct

import pytest

from meshnode.codec import virtio
from meshnode.codec.virtio import segments
from meshnode.errors import BadPacket, DropReason
from tests.inner_packets import (
    ACK,
    CWR,
    FIN,
    PSH,
    ip_packet,
    parse_strictly,
    tcp_packet,
    udp_packet,
)

PAYLOAD = bytes(number % 253 for number in range(3000))
TCP_GSO = {4: virtio.GSO_TCPV4, 6: virtio.GSO_TCPV6}
START = {4: 20, 6: 40}


def frame(packet: bytes, kind: int = 0, size: int = 0, flags: int = 1) -> bytes:
    """Put a virtio header before *packet*, as the kernel does."""
    version = packet[0] >> 4
    offset = 6 if kind == virtio.GSO_UDP_L4 else 16
    return struct.pack("<BBHHHH", flags, kind, 0, size, START[version], offset) + packet


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [1, 999, 1000, 1368, 2999, 3000, 4000])
def test_tcp_is_split(version: int, size: int) -> None:
    """Segments carry the stream on, numbered and checksummed one by one."""
    packet = tcp_packet(version, PAYLOAD, sequence=2**32 - 1500, number=0xFFFF)
    parsed = [
        parse_strictly(one) for one in segments(frame(packet, TCP_GSO[version], size))
    ]
    assert b"".join(one.payload for one in parsed) == PAYLOAD
    assert all(len(one.payload) == size for one in parsed[:-1])
    sequence = 2**32 - 1500
    for number, one in enumerate(parsed):
        assert one.sequence == sequence % 2**32
        assert version == 6 or one.identification == (0xFFFF + number) % 2**16
        sequence += len(one.payload)


def test_tcp_flags_go_where_they_belong() -> None:
    """CWR only comes first; FIN and PSH only last; the rest everywhere."""
    packet = tcp_packet(4, PAYLOAD, flags=ACK | FIN | PSH | CWR)
    flags = [
        parse_strictly(one).flags for one in segments(frame(packet, TCP_GSO[4], 1000))
    ]
    assert flags == [ACK | CWR, ACK, ACK | FIN | PSH]
    alone = segments(frame(packet, TCP_GSO[4], 5000))
    assert [parse_strictly(one).flags for one in alone] == [ACK | FIN | PSH | CWR]


def test_tcp_options_stay() -> None:
    """Every segment has the options of the super-packet."""
    options = bytes.fromhex("0101080a0102030405060708")
    packet = tcp_packet(4, PAYLOAD, options=options)
    for one in segments(frame(packet, TCP_GSO[4], 1000)):
        parse_strictly(one)
        assert one[40:52] == options


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [1, 1000, 1399, 3000])
def test_udp_is_split(version: int, size: int) -> None:
    """Datagrams have their own lengths and checksums."""
    packet = udp_packet(version, PAYLOAD)
    parsed = [
        parse_strictly(one) for one in segments(frame(packet, virtio.GSO_UDP_L4, size))
    ]
    assert b"".join(one.payload for one in parsed) == PAYLOAD
    assert len(parsed) == -(-3000 // size)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("make", [tcp_packet, udp_packet])
def test_partial_checksum_is_completed(version: int, make: type) -> None:
    """A field that holds the pseudo-header's sum becomes a checksum."""
    packet = bytearray(make(version, PAYLOAD[:101]))
    start, protocol = START[version], packet[9 if version == 4 else 6]
    offset = 16 if protocol == 6 else 6
    addresses = packet[12:20] if version == 4 else packet[8:40]
    pseudo = bytes(addresses) + struct.pack(">II", len(packet) - start, protocol)
    words = struct.unpack(f">{len(pseudo) // 2}H", pseudo)
    at = start + offset
    packet[at : at + 2] = (sum(words) % 0xFFFF).to_bytes(2, "big")
    header = struct.pack("<BBHHHH", 1, 0, 0, 0, start, offset)
    assert segments(header + bytes(packet)) == [make(version, PAYLOAD[:101])]


def test_complete_packets_pass_unchanged() -> None:
    """Without flags the packet is not touched, right or wrong."""
    packet = ip_packet(4, 99, b"anything")
    assert segments(frame(packet, flags=0)) == [packet]


def test_congestion_bit_of_the_kind_is_ignored() -> None:
    """GSO_ECN says something about flags we copy anyway."""
    packet = tcp_packet(4, PAYLOAD)
    with_bit = segments(frame(packet, TCP_GSO[4] | virtio.GSO_ECN, 1000))
    assert with_bit == segments(frame(packet, TCP_GSO[4], 1000))


GOOD = tcp_packet(4, PAYLOAD)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        bytes(9),
        bytes(10),
        frame(GOOD, TCP_GSO[4], 0),
        frame(GOOD, TCP_GSO[4], 1000, flags=0),
        frame(GOOD, TCP_GSO[6], 1000),
        frame(tcp_packet(6, PAYLOAD), TCP_GSO[4], 1000),
        frame(GOOD, 2, 1000),
        frame(GOOD, 0x7F, 1000),
        frame(GOOD[:-1], TCP_GSO[4], 1000),
        frame(GOOD + b"x", TCP_GSO[4], 1000),
        frame(tcp_packet(4, b""), TCP_GSO[4], 1000),
        frame(udp_packet(4, b""), virtio.GSO_UDP_L4, 1000),
        frame(ip_packet(4, 6, bytes(19)), TCP_GSO[4], 1000),
        frame(ip_packet(4, 6, bytes(12) + b"\x40" + bytes(99)), TCP_GSO[4], 9),
        frame(ip_packet(4, 6, bytes(12) + b"\xf0" + bytes(20)), TCP_GSO[4], 9),
        struct.pack("<BBHHHH", 1, 1, 0, 1000, 19, 16) + GOOD,
        struct.pack("<BBHHHH", 1, 1, 0, 1000, 0xFFFF, 16) + GOOD,
        struct.pack("<BBHHHH", 1, 0, 0, 0, 20, 0xFFFF) + GOOD,
        struct.pack("<BBHHHH", 1, 0, 0, 0, 0xFFFF, 0xFFFF) + GOOD,
        struct.pack("<BBHHHH", 1, 1, 0, 1000, 20, 16) + b"\x44" + GOOD[1:],
    ],
)
def test_contradictory_frames_are_refused(bad: bytes) -> None:
    """A frame whose fields do not fit together is BAD_INNER."""
    with pytest.raises(BadPacket) as refusal:
        segments(bad)
    assert refusal.value.reason is DropReason.BAD_INNER
