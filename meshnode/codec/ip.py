"""Inner packets: version, addresses and true length (RFC 791, RFC 8200).

These functions run once for each packet, so they look at nothing they need not.
"""

from meshnode.errors import BadPacket, DropReason

IPV4_HEADER_SIZE = 20
IPV6_HEADER_SIZE = 40


def true_length(packet: bytes) -> int:
    """Return how many bytes of *packet* its own header claims; the rest is padding.

    Raises:
        BadPacket: BAD_INNER if the version is not 4 or 6, the header is cut off, or
            the header claims less than itself or more than there is.
    """
    size = len(packet)
    if size >= IPV4_HEADER_SIZE:
        version = packet[0] >> 4
        if version == 4:
            total = packet[2] << 8 | packet[3]
            if IPV4_HEADER_SIZE <= total <= size:
                return total
        elif version == 6 and size >= IPV6_HEADER_SIZE:
            total = IPV6_HEADER_SIZE + (packet[4] << 8 | packet[5])
            if total <= size:
                return total
    raise BadPacket(DropReason.BAD_INNER)


def source(packet: bytes) -> bytes:
    """Return the source address, 4 or 16 bytes, of a packet `true_length` took."""
    return packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]


def destination(packet: bytes) -> bytes:
    """Return the destination, 4 or 16 bytes, of a packet `true_length` took."""
    return packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
