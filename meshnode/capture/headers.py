"""What can be read of an IP packet of which perhaps only the beginning was copied.

Nothing is refused: what is not there is unknown. Also the reverse: headers for the
datagrams of the tunnel, which the kernel made without our seeing them.
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from meshnode.values import frozen

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58

_EXTENSIONS: Final = frozenset((0, 43, 60))
"""IPv6 headers of which the second byte is the length (RFC 8200, 4)."""

_FRAGMENT: Final = 44
_WITH_PORTS: Final = frozenset((TCP, UDP, 132, 136))
_MAX_EXTENSIONS: Final = 8

Address = IPv4Address | IPv6Address


@frozen
class Headers:
    """Addresses, protocol and ports; ports are -1 where there are none.

    `version` is 0 if this is no IP packet; then the rest says nothing.
    """

    version: int
    source: bytes
    destination: bytes
    protocol: int
    source_port: int
    destination_port: int


NO_HEADERS: Final = Headers(0, b"", b"", -1, -1, -1)


def read_headers(packet: bytes) -> Headers:
    """Return what the first bytes of *packet* tell."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        at = (packet[0] & 15) * 4
        # Only the first fragment has ports (RFC 791).
        is_first = not int.from_bytes(packet[6:8]) & 0x1FFF
        ports = _ports(packet, at if is_first and at >= 20 else -1, packet[9])
        return Headers(4, packet[12:16], packet[16:20], packet[9], *ports)
    if version == 6 and len(packet) >= 40:
        protocol, at = _upper_layer(packet)
        ports = _ports(packet, at, protocol)
        return Headers(6, packet[8:24], packet[24:40], protocol, *ports)
    return NO_HEADERS


def _upper_layer(packet: bytes) -> tuple[int, int]:
    """Return the protocol behind the IPv6 extensions, and where it begins or -1."""
    protocol, at = packet[6], 40
    for _ in range(_MAX_EXTENSIONS):
        if protocol in _EXTENSIONS and at + 2 <= len(packet):
            protocol, at = packet[at], at + 8 * (packet[at + 1] + 1)
        elif protocol == _FRAGMENT and at + 8 <= len(packet):
            is_first = not int.from_bytes(packet[at + 2 : at + 4]) & 0xFFF8
            protocol, at = packet[at], at + 8
            if not is_first:
                return protocol, -1
        else:
            break
    return protocol, at


def _ports(packet: bytes, at: int, protocol: int) -> tuple[int, int]:
    if at < 0 or protocol not in _WITH_PORTS or len(packet) < at + 4:
        return -1, -1
    return (
        int.from_bytes(packet[at : at + 2]),
        int.from_bytes(packet[at + 2 : at + 4]),
    )


def address_of(raw: bytes) -> Address:
    """Return four or sixteen bytes as an address."""
    return ip_address(raw)


def udp_headers(
    source: bytes, destination: bytes, source_port: int, port: int, size: int
) -> bytes:
    """Return the IP and UDP headers of a datagram with *size* bytes of payload.

    Addresses are of one version. The UDP checksum is left out, which for IPv6 is
    against RFC 8200 and shows in Wireshark: the kernel's own was never ours to see.
    """
    udp = struct.pack(">HHHH", source_port, port, 8 + size & 0xFFFF, 0)
    if len(source) == 16:
        head = struct.pack(">IHBB", 6 << 28, 8 + size & 0xFFFF, UDP, 64)
        return head + source + destination + udp
    length = 28 + size & 0xFFFF
    head = struct.pack(">BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, UDP, 0)
    whole = bytearray(head + source + destination)
    total = sum(struct.unpack(">10H", whole))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    whole[10:12] = struct.pack(">H", ~total & 0xFFFF)
    return bytes(whole) + udp
