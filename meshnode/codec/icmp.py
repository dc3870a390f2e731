"""Destination-unreachable messages about inner packets (RFC 792, RFC 4443).

An application learns at once that no peer will take its packets, as it does from
the kernel's own WireGuard, which answers with the same two codes.
"""

import struct

from meshnode.codec import ip
from meshnode.codec.checksum import MODULUS, residue, transport_checksum

_ICMP = 1
_ICMPV6 = 58
_HOP_LIMIT = 64

# Type and code: host unreachable, address unreachable.
_UNREACHABLE_V4 = b"\x03\x01"
_UNREACHABLE_V6 = b"\x01\x03"

# ICMPv4 types that ask or answer; anything else is an error message.
_QUERIES_V4 = frozenset((0, 8, 13, 14))
# How much of the packet is quoted: RFC 1812 (576 in all) and RFC 4443 (1280 in all).
_QUOTE_V4 = 576 - 28
_QUOTE_V6 = 1280 - 48

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")


def unreachable(packet: bytes) -> bytes | None:
    """Return the packet that tells the sender of *packet* it cannot be delivered.

    It claims to come from the destination: that address passes reverse-path filters,
    and the host has no other that this code knows. *packet* is one that
    `ip.true_length` took.

    Returns:
        None where no answer may be given (RFC 1122 3.2.2, RFC 4443 2.4): about an
        ICMP error, a later fragment, a multicast or broadcast destination, or from
        or to no address.
    """
    answer = _unreachable_v4 if packet[0] >> 4 == 4 else _unreachable_v6
    return answer(packet)


def _unreachable_v4(packet: bytes) -> bytes | None:
    source, destination = ip.source(packet), ip.destination(packet)
    header = (packet[0] & 15) * 4
    is_error = packet[9] == _ICMP and packet[header : header + 1] not in (
        bytes((query,)) for query in _QUERIES_V4
    )
    is_later_fragment = (packet[6] & 0x1F) or packet[7]
    if is_error or is_later_fragment:
        return None
    if not 1 <= source[0] < 224 or not 1 <= destination[0] < 224:
        return None
    quote = packet[:_QUOTE_V4]
    checksum = transport_checksum(residue(_UNREACHABLE_V4) + residue(quote))
    message = _UNREACHABLE_V4 + checksum.to_bytes(2, "big") + bytes(4) + quote
    fields = [0x45, 0, 20 + len(message), 0, 0, _HOP_LIMIT, _ICMP, 0]
    blank = _IPV4.pack(*fields, destination, source)
    fields[-1] = -residue(blank) % MODULUS
    return _IPV4.pack(*fields, destination, source) + message


def _unreachable_v6(packet: bytes) -> bytes | None:
    source, destination = ip.source(packet), ip.destination(packet)
    # Types below 128 are errors. A cut-off message is taken for one.
    is_error = packet[6] == _ICMPV6 and (len(packet) <= 40 or packet[40] < 128)
    if is_error or 0xFF in (source[0], destination[0]):
        return None
    if not any(source) or not any(destination):
        return None
    quote = packet[:_QUOTE_V6]
    size = 8 + len(quote)
    total = residue(destination + source) + size + _ICMPV6
    total += residue(_UNREACHABLE_V6) + residue(quote)
    checksum = transport_checksum(total).to_bytes(2, "big")
    header = _IPV6.pack(6 << 28, size, _ICMPV6, _HOP_LIMIT, destination, source)
    return header + _UNREACHABLE_V6 + checksum + bytes(4) + quote
