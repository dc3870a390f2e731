"""Frames of a TUN device opened with IFF_VNET_HDR: one packet, or many in one.

A frame is a `virtio_net_hdr` (virtio 1.2, 5.1.6) and an IP packet. The kernel may
leave the checksum to us (NEEDS_CSUM), and may hand over one packet of up to 64 KiB
that stands for many (segmentation offload). `segments` turns any frame into the
complete packets that go on the wire; `codec.coalesce` goes the other way.
"""

import struct

from meshnode.codec.checksum import MODULUS, residue, transport_checksum
from meshnode.codec.ip import destination, source, true_length
from meshnode.errors import BadPacket, DropReason

HEADER = struct.Struct("<BBHHHH")
"""flags, gso_type, hdr_len, gso_size, csum_start, csum_offset."""

PLAIN = bytes(HEADER.size)
"""The header of a frame that holds one complete packet."""

NEEDS_CSUM = 1
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
GSO_ECN = 0x80

TCP = 6
UDP = 17
TCP_CHECKSUM_AT = 16
UDP_CHECKSUM_AT = 6
UDP_HEADER_SIZE = 8
_UDP = struct.Struct(">4sHH")

# TCP flags (RFC 9293, RFC 3168).
FIN = 0x01
PSH = 0x08
ACK = 0x10
CWR = 0x80


def segments(frame: bytes) -> list[bytes]:
    """Return the complete IP packets that *frame* stands for, in order.

    Lengths, IPv4 identifications, TCP sequence numbers and flags and all checksums
    are those of packets sent one by one.

    Raises:
        BadPacket: BAD_INNER if the frame contradicts itself anywhere.
    """
    if len(frame) < HEADER.size:
        raise BadPacket(DropReason.BAD_INNER)
    flags, kind, _, size, start, offset = HEADER.unpack_from(frame)
    packet = frame[HEADER.size :]
    _require(true_length(packet) == len(packet))
    kind &= ~GSO_ECN
    version = packet[0] >> 4
    if flags & NEEDS_CSUM:
        _require(start >= (_ipv4_header_size(packet) if version == 4 else 40))
    if kind == GSO_NONE:
        if flags & NEEDS_CSUM:
            packet = _complete_checksum(packet, start, start + offset)
        return [packet]
    _require(flags & NEEDS_CSUM != 0 and size > 0)
    if kind == GSO_UDP_L4:
        return _split_udp(packet, start, size)
    _require(kind == (GSO_TCPV4 if version == 4 else GSO_TCPV6))
    return _split_tcp(packet, start, size)


def _require(condition: bool) -> None:
    if not condition:
        raise BadPacket(DropReason.BAD_INNER)


def _ipv4_header_size(packet: bytes) -> int:
    size = (packet[0] & 15) * 4
    _require(size >= 20)
    return size


def _complete_checksum(packet: bytes, start: int, at: int) -> bytes:
    """Finish the checksum whose field, *at*, holds the sum of the pseudo-header."""
    _require(at + 2 <= len(packet))
    checksum = transport_checksum(residue(packet[start:]))
    return b"".join((packet[:at], checksum.to_bytes(2, "big"), packet[at + 2 :]))


def _split_tcp(packet: bytes, start: int, size: int) -> list[bytes]:
    _require(start + 20 <= len(packet))
    end = start + (packet[start + 12] >> 4) * 4
    _require(start + 20 <= end < len(packet))
    payloads = [packet[at : at + size] for at in range(end, len(packet), size)]
    headers = _ip_headers(packet, start, end - start, payloads)
    ports = packet[start : start + 4]
    sequence = int.from_bytes(packet[start + 4 : start + 8], "big")
    rest = packet[start + 18 : end]
    fixed = _pseudo_residue(packet, TCP) + residue(ports + rest) + end - start
    pack = struct.Struct(f">4sI8sH{len(rest)}s").pack
    result = []
    variants = _tcp_variants(packet[start + 8 : start + 16], len(payloads))
    for header, payload, variant in zip(headers, payloads, variants, strict=True):
        middle, total = variant
        total += fixed + len(payload) + sequence + residue(payload)
        # `transport_checksum`, without the call.
        checksum = -total % MODULUS or MODULUS
        tcp = pack(ports, sequence, middle, checksum, rest)
        result.append(b"".join((header, tcp, payload)))
        sequence = (sequence + size) & 0xFFFFFFFF
    return result


def _tcp_variants(middle: bytes, count: int) -> list[tuple[bytes, int]]:
    """Return bytes 8 to 16 of each TCP header, and their residue.

    *middle* holds acknowledgement, offset, flags and window. What ends a stream or
    urges its delivery belongs to the last segment, the congestion notice to the first.
    """

    def variant(removed: int) -> tuple[bytes, int]:
        fields = middle[:5] + bytes((middle[5] & ~removed,)) + middle[6:]
        return fields, residue(fields)

    if count == 1:
        return [variant(0)]
    between = variant(FIN | PSH | CWR)
    return [variant(FIN | PSH), *[between] * (count - 2), variant(CWR)]


def _split_udp(packet: bytes, start: int, size: int) -> list[bytes]:
    end = start + UDP_HEADER_SIZE
    _require(end < len(packet))
    payloads = [packet[at : at + size] for at in range(end, len(packet), size)]
    headers = _ip_headers(packet, start, UDP_HEADER_SIZE, payloads)
    ports = packet[start : start + 4]
    fixed = _pseudo_residue(packet, UDP) + residue(ports)
    result = []
    for header, payload in zip(headers, payloads, strict=True):
        length = UDP_HEADER_SIZE + len(payload)
        # The length stands in the pseudo-header and in the header.
        checksum = transport_checksum(fixed + 2 * length + residue(payload))
        udp = _UDP.pack(ports, length, checksum)
        result.append(b"".join((header, udp, payload)))
    return result


def _pseudo_residue(packet: bytes, protocol: int) -> int:
    """Return the sum of addresses and protocol; the length is still to be added."""
    return residue(source(packet) + destination(packet)) + protocol


def _ip_headers(
    packet: bytes, start: int, transport_header: int, payloads: list[bytes]
) -> list[bytes]:
    """Return the IP header of each segment, extension headers included."""
    size = start + transport_header
    if packet[0] >> 4 == 6:
        before, after = packet[:4], packet[6:start]
        size -= 40
        return [
            b"".join((before, (size + len(payload)).to_bytes(2, "big"), after))
            for payload in payloads
        ]
    identification = packet[4] << 8 | packet[5]
    first, middle, rest = packet[:2], packet[6:10], packet[12:start]
    fixed = residue(first + middle + rest)
    pack = struct.Struct(f">2sHH4sH{len(rest)}s").pack
    headers = []
    for payload in payloads:
        total = size + len(payload)
        checksum = -(fixed + total + identification) % MODULUS
        headers.append(pack(first, total, identification, middle, checksum, rest))
        identification = (identification + 1) & 0xFFFF
    return headers
