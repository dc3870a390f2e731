"""Inner packets for tests: builders, and an oracle that judges them slowly."""

import ipaddress
import struct
from dataclasses import dataclass

FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80

ADDRESSES = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}


def plain_sum(data: bytes) -> int:
    """Add 16-bit words with end-around carry, as RFC 1071 words it."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _addresses(version: int) -> bytes:
    return b"".join(ipaddress.ip_address(a).packed for a in ADDRESSES[version])


def ip_packet(version: int, protocol: int, payload: bytes, *, number: int = 7) -> bytes:
    """Build an IP packet with a good header; *number* is the identification."""
    if version == 6:
        header = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
        return header + _addresses(6) + payload
    fields = [0x45, 0, 20 + len(payload), number, 0x4000, 64, protocol, 0]
    blank = struct.pack(">BBHHHBBH", *fields) + _addresses(4)
    fields[-1] = 0xFFFF - plain_sum(blank)
    return struct.pack(">BBHHHBBH", *fields) + _addresses(4) + payload


def with_checksum(version: int, protocol: int, message: bytes, at: int) -> bytes:
    """Write the right transport checksum into *message*."""
    blank = message[:at] + b"\0\0" + message[at + 2 :]
    pseudo = _addresses(version) + struct.pack(">II", len(blank), protocol)
    checksum = (0xFFFF - plain_sum(pseudo + blank)) or 0xFFFF
    return message[:at] + checksum.to_bytes(2, "big") + message[at + 2 :]


def tcp_packet(
    version: int,
    payload: bytes,
    *,
    sequence: int = 1,
    acknowledgement: int = 5,
    flags: int = ACK,
    options: bytes = b"",
    source_port: int = 1000,
    number: int = 7,
) -> bytes:
    """Build a complete TCP segment."""
    header = struct.pack(
        ">HHIIBBHHH",
        source_port,
        2000,
        sequence,
        acknowledgement,
        (20 + len(options)) << 2,
        flags,
        500,
        0,
        0,
    )
    message = with_checksum(version, 6, header + options + payload, 16)
    return ip_packet(version, 6, message, number=number)


def udp_packet(
    version: int, payload: bytes, *, source_port: int = 1000, number: int = 7
) -> bytes:
    """Build a complete UDP datagram."""
    header = struct.pack(">HHHH", source_port, 2000, 8 + len(payload), 0)
    message = with_checksum(version, 17, header + payload, 6)
    return ip_packet(version, 17, message, number=number)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A packet that was found good in every field that is redundant."""

    version: int
    protocol: int
    flags: int
    sequence: int
    identification: int
    payload: bytes


def parse_strictly(packet: bytes) -> Parsed:
    """Check lengths and all checksums of a TCP or UDP packet, and take it apart."""
    version = packet[0] >> 4
    if version == 4:
        start, protocol = (packet[0] & 15) * 4, packet[9]
        assert int.from_bytes(packet[2:4], "big") == len(packet)
        assert plain_sum(packet[:start]) == 0xFFFF
        addresses, identification = packet[12:20], int.from_bytes(packet[4:6], "big")
    else:
        start, protocol = 40, packet[6]
        assert 40 + int.from_bytes(packet[4:6], "big") == len(packet)
        addresses, identification = packet[8:40], 0
    message = packet[start:]
    pseudo = addresses + struct.pack(">II", len(message), protocol)
    assert plain_sum(pseudo + message) == 0xFFFF
    if protocol == 17:
        assert int.from_bytes(message[4:6], "big") == len(message)
        return Parsed(version, 17, 0, 0, identification, message[8:])
    assert protocol == 6
    header = (message[12] >> 4) * 4
    sequence = int.from_bytes(message[4:8], "big")
    return Parsed(version, 6, message[13], sequence, identification, message[header:])
