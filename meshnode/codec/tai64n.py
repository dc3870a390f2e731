"""TAI64N labels: 12 bytes that sort as the instants they name (paper 5.1).

A label is the big-endian 64-bit count of seconds since 2^62 before 1970 in TAI, then
32 bits of nanoseconds. As all of WireGuard, it takes TAI for ten seconds ahead of
UTC for ever, so that seconds of Unix time map to it by one addition.
"""

import struct
from typing import Final

LABEL_SIZE: Final = 12
# TAI64's 1970, and the ten seconds TAI was ahead of UTC then.
BASE: Final = 0x400000000000000A
# Labels are this many nanoseconds apart (16.8 ms), so that they tell nothing of the
# sender's clock that could serve a timing attack.
TICK: Final = 2**24

_LABEL = struct.Struct(">QI")
_SECOND = 10**9
# TAI64 reserves labels from 2^63 on.
_END = 2**63


def encode(seconds: int, nanoseconds: int) -> bytes:
    """Return the label of a Unix time; *nanoseconds* is 0 to 999999999.

    Raises:
        ValueError: if a label cannot express it.
    """
    if not 0 <= nanoseconds < _SECOND or not 0 <= BASE + seconds < _END:
        raise ValueError("no TAI64N label for this time")
    return _LABEL.pack(BASE + seconds, nanoseconds)


def decode(label: bytes) -> tuple[int, int]:
    """Return the Unix seconds and nanoseconds of a label.

    Raises:
        ValueError: if it is not 12 bytes, or no time of TAI64N.
    """
    if len(label) != LABEL_SIZE:
        raise ValueError("a TAI64N label has 12 bytes")
    seconds, nanoseconds = _LABEL.unpack(label)
    if seconds >= _END or nanoseconds >= _SECOND:
        raise ValueError("not a TAI64N label")
    return seconds - BASE, nanoseconds


def whiten(label: bytes) -> bytes:
    """Return *label* with its nanoseconds rounded down to a whole tick."""
    seconds, nanoseconds = decode(label)
    return encode(seconds, nanoseconds - nanoseconds % TICK)


def next_tick(label: bytes) -> bytes:
    """Return the smallest whitened label greater than *label*.

    Raises:
        ValueError: if *label* is none, or the last of all.
    """
    seconds, nanoseconds = decode(label)
    nanoseconds += TICK - nanoseconds % TICK
    if nanoseconds >= _SECOND:
        return encode(seconds + 1, 0)
    return encode(seconds, nanoseconds)
