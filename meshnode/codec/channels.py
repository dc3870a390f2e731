"""Type 5: a datagram on its way over a relay (docs/paths.md).

`u32 5 | u32 channel | datagram`, little-endian. The datagrams of a burst all get the
same header, so that they stay equal in size and go by one segmented send.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from meshnode.errors import BadPacket, DropReason
from meshnode.values import frozen

if TYPE_CHECKING:
    from typing_extensions import Buffer

CHANNEL_TYPE: Final = 5
HEADER: Final = struct.Struct("<II")
HEADER_SIZE: Final = HEADER.size

_FIRST = bytes((CHANNEL_TYPE, 0, 0, 0))


@frozen
class Run:
    """Datagrams of a burst, one after the other, with the same channel number.

    They are the bytes from *start* up to *end*; *channel* is None for those that are
    not of type 5.
    """

    start: int
    end: int
    channel: int | None


def encode_header(channel: int) -> bytes:
    """Return what stands before a datagram that goes by *channel*."""
    return HEADER.pack(CHANNEL_TYPE, channel)


def parse(data: bytes) -> tuple[int, bytes]:
    """Return the channel and the content of a type 5 datagram.

    Raises:
        BadPacket: if it is none, or has no header.
    """
    if len(data) < HEADER_SIZE:
        raise BadPacket(DropReason.BAD_LENGTH)
    kind, channel = HEADER.unpack_from(data)
    if kind != CHANNEL_TYPE:
        raise BadPacket(DropReason.BAD_TYPE)
    return channel, data[HEADER_SIZE:]


def may_have_channels(data: bytearray, length: int, segment_size: int) -> bool:
    """Whether the first bytes of a burst's datagrams leave it possible; it is cheap."""
    return CHANNEL_TYPE in data[: length : segment_size or 1]


def runs(data: bytearray, length: int, segment_size: int) -> Iterator[Run]:
    """Split the burst in the first *length* bytes of *data* by channel numbers.

    Each datagram has *segment_size* bytes but the last, which may be shorter; one
    without a whole header is none of type 5.
    """
    start, header = 0, b""
    for at in range(0, length, segment_size or 1):
        this = _header_at(data, at, min(at + segment_size, length))
        if at and this != header:
            yield Run(start, at, _number(header))
            start = at
        header = this
    if length:
        yield Run(start, length, _number(header))


def wrap(data: "Buffer", segment_size: int, channel: int) -> bytearray:
    """Return the datagrams in *data*, as in `runs`, each behind the header."""
    header, view = encode_header(channel), memoryview(data)
    pieces: list[bytes | memoryview] = []
    for at in range(0, len(view), segment_size):
        pieces += (header, view[at : at + segment_size])
    return bytearray().join(pieces)


def relabel(data: bytearray, segment_size: int, channel: int) -> None:
    """Put *channel* in place of the number in every datagram of a run of type 5."""
    for at in range(0, len(data), segment_size):
        HEADER.pack_into(data, at, CHANNEL_TYPE, channel)


def _header_at(data: bytearray, at: int, end: int) -> bytes:
    """Return the header of the datagram there, b"" if it is not of type 5."""
    if end - at < HEADER_SIZE or data[at : at + 4] != _FIRST:
        return b""
    return bytes(data[at : at + HEADER_SIZE])


def _number(header: bytes) -> int | None:
    return HEADER.unpack(header)[1] if header else None
