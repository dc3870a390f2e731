"""The tap: what processes that carry packets copy into shared memory for a capture.

Every process that carries packets has a ring of its own in the memory: a header page,
then `RING_BYTES` of records. The process alone moves `HEAD` and `DROPPED`, the one
reader alone moves `TAIL`, and control alone says what is `WANTED`. `HEAD` and `TAIL`
count bytes since the memory was made and never fall, so the ring is empty where they
are equal, and what lies between is the reader's. Words have 64 bits in the order of
the host, and who moves one has finished all that it speaks of before.

A record is a header (`RECORD`) and the copied bytes, filled up to a multiple of eight.
It never wraps: where the room up to the end is too small, a header of size 0 stands.
"""

import struct
from typing import Final, NamedTuple

from meshnode.errors import DropReason

LAYOUT: Final = 1
"""Grows with every change here; node and command may be of different versions."""

HEADER_BYTES: Final = 4096
"""The page before each ring; three lines of 64 bytes, by who writes them."""

RING_BYTES: Final = 8 * 2**20
"""Room for records; a power of two. Memory that nobody touched costs nothing."""

HEAD: Final = 0
"""The word with the bytes that were ever written."""

DROPPED: Final = 1
"""The word with the packets that found no room."""

TAIL: Final = 8
"""The word with the bytes that were ever read."""

WANTED: Final = 16
"""The word with the bits of what shall be copied; 0 while nobody captures."""

SNAPLEN: Final = 17
"""The word with the most bytes that shall be copied of a packet."""

INNER: Final = 1
"""The bit for what goes through the tunnel."""

OUTER: Final = 2
"""The bit for the datagrams of the tunnel itself."""

MAX_SNAPLEN: Final = 65535
"""Bytes of the largest packet there is."""

TUNNEL_IN, TUNNEL_OUT, UNDERLAY_IN, UNDERLAY_OUT = range(4)
"""The sides at which packets are seen; "in" is towards this host."""

SIDES: Final = ("tunnel-in", "tunnel-out", "underlay-in", "underlay-out")

RECORD: Final = struct.Struct("=IIIBBBxQiI16s16sHH4x")
"""Size of all, bytes copied, bytes there were, side, verdict, IP version of the path
(0: none), nanoseconds since 1970, slot of the peer (-1: none), number of the relay
channel (0: none), remote and local address (IPv4 in the first four bytes), both ports.
"""

PASSED: Final = 0
"""The verdict on what went its way."""

FORWARDED: Final = 254
"""The verdict on what was handed on to another member."""

GIVEN_UP: Final = 255
"""The verdict on what waited for a session that did not come."""

_REASONS: Final = tuple(DropReason)
_CODES: Final = {reason: number for number, reason in enumerate(_REASONS, 1)}


class Sighting(NamedTuple):
    """One packet as a tap saw it: the bytes copied, and the fields of `RECORD`.

    `length` is of the whole packet, of which `data` are the first bytes. A tuple, for
    there are hundred thousands a second.
    """

    data: bytes
    length: int
    side: int
    verdict: int
    version: int
    time_ns: int
    slot: int
    channel: int
    remote: bytes
    local: bytes
    remote_port: int
    local_port: int


def tap_bytes(workers: int) -> int:
    """Return the bytes of the memory for that many workers of each direction."""
    return (2 * workers + 1) * (HEADER_BYTES + RING_BYTES)


def ring_of(memory: memoryview, number: int) -> memoryview:
    """Return one ring with its header; the last is control's own."""
    size = HEADER_BYTES + RING_BYTES
    return memory[number * size : (number + 1) * size]


def ring_number(number: int, *, is_egress: bool) -> int:
    """Return the number of the ring of a worker with this number of its direction."""
    return 2 * number + int(is_egress)


def code_of(reason: DropReason) -> int:
    """Return the verdict on what is dropped for *reason*."""
    return _CODES[reason]


def verdict_text(code: int, *, side: int) -> str:
    """Say what became of a packet, in the words of `meshnode status`."""
    if code == PASSED:
        return "delivered" if side == TUNNEL_IN else _PASSED_WORDS[side]
    if code == FORWARDED:
        return "relayed"
    if code == GIVEN_UP:
        return "dropped: no session came"
    if code <= len(_REASONS):
        return f"dropped: {_REASONS[code - 1].value}"
    return f"verdict {code}"


_PASSED_WORDS: Final = ("delivered", "sent", "accepted", "sent")


def is_dropped(code: int) -> bool:
    """Whether this verdict means that the packet went no further."""
    return code not in (PASSED, FORWARDED)


def padded(size: int) -> int:
    """Return the next multiple of eight."""
    return (size + 7) & ~7


def parse_records(data: memoryview) -> tuple[list[Sighting], int]:
    """Return the whole records at the beginning of *data*, and their bytes together.

    What cannot be a record ends the list: nobody but us writes there, and yet no
    length is trusted.
    """
    found = []
    at, end = 0, len(data)
    while at + RECORD.size <= end:
        size, copied, *fields = RECORD.unpack_from(data, at)
        begin = at + RECORD.size
        if not RECORD.size + copied <= size <= end - at or fields[1] > UNDERLAY_OUT:
            break
        copy = bytes(data[begin : begin + copied])
        found.append(Sighting(copy, *fields))
        at += size
    return found, at
