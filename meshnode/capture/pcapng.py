"""Write pcapng, the file format of Wireshark (draft-ietf-opsawg-pcapng).

A file is one section: `section`, an `interface` for each side at which packets are
seen, then packets, and at the end the `statistics` of each interface. All blocks are
little-endian and filled up to four bytes. Times are nanoseconds since 1970.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

LINKTYPE_RAW: Final = 101
"""Packets that begin with an IP header (www.tcpdump.org/linktypes.html)."""

INBOUND: Final = 1
OUTBOUND: Final = 2
"""Directions in the flags of a packet (section 4.3.1)."""

WIREGUARD_KEY_LOG: Final = 0x57474B4C
"""The type of secrets that Wireshark's WireGuard dissector takes (section 4.7)."""

MAX_COMMENT: Final = 1024
"""Bytes of a comment; what is longer is cut."""

_SECTION, _INTERFACE, _STATISTICS, _PACKET, _SECRETS = 0x0A0D0D0A, 1, 5, 6, 10
_BYTE_ORDER: Final = 0x1A2B3C4D
_END_OF_OPTIONS: Final = 0
_COMMENT: Final = 1
_SHB_USER_APPLICATION: Final = 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 2, 3, 9
_NANOSECONDS: Final = bytes([9])
_EPB_FLAGS, _EPB_DROP_COUNT = 2, 4
_ISB_START, _ISB_END, _ISB_RECEIVED, _ISB_DROPPED, _ISB_DELIVERED = 2, 3, 4, 5, 8

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_OPTION: Final = struct.Struct("<HH")
_EPB: Final = struct.Struct("<IIIIIII")


def section(application: str) -> bytes:
    """Return the section header block, with the name of who writes."""
    body = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)
    named = _option(_SHB_USER_APPLICATION, application.encode())
    return _block(_SECTION, body, (named,))


def interface(name: str, description: str, *, snaplen: int) -> bytes:
    """Return an interface description block; the first one is interface 0.

    *snaplen* is the most bytes that are kept of a packet.
    """
    body = struct.pack("<HHI", LINKTYPE_RAW, 0, snaplen)
    options = (
        _option(_IF_NAME, name.encode()),
        _option(_IF_DESCRIPTION, description.encode()),
        _option(_IF_TSRESOL, _NANOSECONDS),
    )
    return _block(_INTERFACE, body, options)


def packet(
    number: int,
    time_ns: int,
    data: bytes,
    length: int,
    *,
    direction: int,
    comment: str = "",
    dropped: int = 0,
) -> bytes:
    """Return an enhanced packet block.

    Args:
        number: of the interface.
        time_ns: when it was seen.
        data: its first bytes.
        length: the bytes that it had.
        direction: `INBOUND` or `OUTBOUND`.
        comment: what Wireshark shows beside it; none if empty.
        dropped: packets lost between the one before on this interface and it.
    """
    options = b"" if not comment else _comment(comment)
    options += _OPTION.pack(_EPB_FLAGS, 4) + _U32.pack(direction)
    if dropped:
        options += _OPTION.pack(_EPB_DROP_COUNT, 8) + _U64.pack(dropped)
    options += _OPTION.pack(_END_OF_OPTIONS, 0)
    filling = bytes(-len(data) % 4)
    size = _EPB.size + len(data) + len(filling) + len(options) + 4
    head = _EPB.pack(
        _PACKET,
        size,
        number,
        time_ns >> 32,
        time_ns & 0xFFFFFFFF,
        len(data),
        length,
    )
    return b"".join((head, data, filling, options, _U32.pack(size)))


def statistics(
    number: int, *, start_ns: int, end_ns: int, received: int, dropped: int, kept: int
) -> bytes:
    """Return the interface statistics block of one interface.

    *received* counts what was seen, *dropped* what was lost before a filter could look
    at it, *kept* what is in the file.
    """
    body = struct.pack("<III", number, end_ns >> 32, end_ns & 0xFFFFFFFF)
    options = (
        _option(_ISB_START, struct.pack("<II", start_ns >> 32, start_ns & 0xFFFFFFFF)),
        _option(_ISB_END, struct.pack("<II", end_ns >> 32, end_ns & 0xFFFFFFFF)),
        _option(_ISB_RECEIVED, _U64.pack(received)),
        _option(_ISB_DROPPED, _U64.pack(dropped)),
        _option(_ISB_DELIVERED, _U64.pack(kept)),
    )
    return _block(_STATISTICS, body, options)


def secrets(kind: int, text: bytes) -> bytes:
    """Return a decryption secrets block; it stands before the packets it opens."""
    return _block(_SECRETS, struct.pack("<II", kind, len(text)) + _filled(text), ())


@lru_cache(maxsize=256)
def _comment(text: str) -> bytes:
    # A cut in the middle of a character would be no UTF-8.
    data = text.encode()[:MAX_COMMENT].decode(errors="ignore").encode()
    return _option(_COMMENT, data)


def _option(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + _filled(value)


def _filled(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes, options: Iterable[bytes]) -> bytes:
    joined = b"".join(options)
    if joined:
        joined += _OPTION.pack(_END_OF_OPTIONS, 0)
    size = 12 + len(body) + len(joined)
    return b"".join((struct.pack("<II", kind, size), body, joined, _U32.pack(size)))
