"""What the first bytes of a packet tell, and headers made for the underlay."""

import struct

from meshnode.capture.headers import (
    NO_HEADERS,
    TCP,
    UDP,
    address_of,
    read_headers,
    udp_headers,
)
from tests.inner_packets import plain_sum, tcp_packet, udp_packet


def test_addresses_and_ports_are_read() -> None:
    """Of both versions."""
    for version in (4, 6):
        found = read_headers(tcp_packet(version, b"x", source_port=1234))
        assert (found.version, found.protocol) == (version, TCP)
        assert (found.source_port, found.destination_port) == (1234, 2000)
        assert address_of(found.source).version == version


def test_a_packet_cut_short_tells_what_is_left() -> None:
    """Addresses without ports, or nothing."""
    packet = udp_packet(4, b"x")
    assert read_headers(packet[:23]).source_port == -1
    assert read_headers(packet[:23]).protocol == UDP
    assert read_headers(packet[:19]) == NO_HEADERS
    assert read_headers(udp_packet(6, b"x")[:39]) == NO_HEADERS
    assert read_headers(b"") == NO_HEADERS
    assert read_headers(b"\x01control") == NO_HEADERS


def test_later_fragments_have_no_ports() -> None:
    """The first one has."""
    packet = bytearray(udp_packet(4, b"x"))
    packet[6:8] = struct.pack(">H", 0x2000)
    assert read_headers(bytes(packet)).source_port == 1000
    packet[6:8] = struct.pack(">H", 5)
    assert read_headers(bytes(packet)).source_port == -1


def test_ports_are_found_behind_extensions() -> None:
    """Hop-by-hop options, routing, a fragment header; not for ever."""
    packet = udp_packet(6, b"x")
    head, rest = packet[:40], packet[40:]
    options = head[:6] + b"\0" + head[7:40] + bytes([43, 0]) + bytes(6)
    routing = options + bytes([44, 0]) + bytes(6)
    first = routing + bytes([17, 0, 0, 1]) + bytes(4) + rest
    assert (read_headers(first).protocol, read_headers(first).source_port) == (17, 1000)
    later = routing + bytes([17, 0, 0, 8]) + bytes(4) + rest
    assert (read_headers(later).protocol, read_headers(later).source_port) == (17, -1)
    endless = head[:6] + b"\0" + head[7:40] + bytes(800)
    assert read_headers(endless).source_port == -1


def test_headers_of_datagrams_are_right() -> None:
    """Lengths, addresses and the checksum of IPv4."""
    payload = b"sealed"
    packet = udp_headers(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 5, 6, 6) + payload
    assert plain_sum(packet[:20]) == 0xFFFF
    found = read_headers(packet)
    assert (found.source_port, found.destination_port) == (5, 6)
    assert struct.unpack(">H", packet[2:4]) == (34,)
    v6 = udp_headers(bytes(15) + b"\1", bytes(15) + b"\2", 5, 6, 6) + payload
    assert len(v6) == 54
    assert read_headers(v6).destination_port == 6
