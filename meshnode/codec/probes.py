"""Probes, type 6: datagrams that open a way through NATs and prove that there is one.

    u32 6 | sender's probe key 32 | nonce 24 | sealed: length u8, msgpack, 0… | tag 16

All probes have the same size, so no answer is longer than what it answers. What is
sealed is the array [kind, number, seen]; `number` grows with every ping of a sender
and an answer repeats it. Integers are little-endian. Sealing is `mesh.probes`'.
"""

import enum
import struct
from typing import Final

from meshnode.codec.strict import ENDPOINT, Layout, numbered, optional, whole
from meshnode.errors import CodecError
from meshnode.types import Endpoint
from meshnode.values import frozen

PROBE_TYPE: Final = 6
KEY_SIZE: Final = 32
NONCE_SIZE: Final = 24
TAG_SIZE: Final = 16
PLAIN_SIZE: Final = 40
"""Bytes that are sealed, of every probe."""

PROBE_SIZE: Final = 4 + KEY_SIZE + NONCE_SIZE + PLAIN_SIZE + TAG_SIZE
"""Bytes of every probe."""

MAX_NUMBER: Final = 2**60

_TYPE: Final = struct.Struct("<I")
_HEADER_SIZE: Final = _TYPE.size + KEY_SIZE


class ProbeKind(enum.IntEnum):
    """A question or its answer."""

    PING = 1
    PONG = 2


@frozen
class Probe:
    """What a probe says; `seen` is where the ping of a pong came from."""

    kind: ProbeKind
    number: int
    seen: Endpoint | None = None


@frozen
class SealedProbe:
    """A probe that was not opened yet: who claims to have sent it, and the rest."""

    sender: bytes
    nonce: bytes
    sealed: bytes


_LAYOUT: Final[Layout[Probe]] = Layout(
    Probe,
    numbered(ProbeKind),
    whole(0, MAX_NUMBER),
    optional(ENDPOINT),
    max_bytes=PLAIN_SIZE - 1,
)


def encode_plain(probe: Probe) -> bytes:
    """Return the `PLAIN_SIZE` bytes to seal; raises `CodecError`."""
    data = _LAYOUT.encode(probe)
    return (bytes([len(data)]) + data).ljust(PLAIN_SIZE, b"\0")


def decode_plain(plain: bytes) -> Probe:
    """Return the probe in bytes that were opened; raises `CodecError`."""
    if len(plain) != PLAIN_SIZE or plain[0] >= PLAIN_SIZE:
        raise CodecError("no probe")
    end = 1 + plain[0]
    if any(plain[end:]):
        raise CodecError("more than padding after the probe")
    return _LAYOUT.decode(plain[1:end])


def header_of(sender: bytes) -> bytes:
    """Return what a probe of *sender* (its probe key) begins with."""
    return _TYPE.pack(PROBE_TYPE) + sender


def encode_sealed(probe: SealedProbe) -> bytes:
    """Return the datagram."""
    return header_of(probe.sender) + probe.nonce + probe.sealed


def decode_sealed(data: bytes) -> SealedProbe:
    """Return the parts of a datagram; raises `CodecError`."""
    if len(data) != PROBE_SIZE or data[: _TYPE.size] != _TYPE.pack(PROBE_TYPE):
        raise CodecError("no probe")
    start = _HEADER_SIZE + NONCE_SIZE
    return SealedProbe(
        data[_TYPE.size : _HEADER_SIZE], data[_HEADER_SIZE:start], data[start:]
    )
