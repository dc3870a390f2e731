"""What a member says on its LAN: bytes to values, nothing opened and nothing believed.

    version u8 = 1 | day u16 | nonce 24 bytes | sealed 67 bytes

The day (since 1970, UTC) says which key sealed it. Sealed is

    kind u8 | WireGuard key 32 bytes | port u16 | address 16 bytes

and a tag of 16 bytes; IPv4 travels as ::ffff:a.b.c.d. All integers are big-endian.
Every announcement has the same length, so an answer is never longer than its question.
"""

import enum
import ipaddress
import struct
from typing import Final

from meshnode.errors import CodecError
from meshnode.values import frozen

VERSION: Final = 1
HEADER_SIZE: Final = 3
NONCE_SIZE: Final = 24
SEALED_SIZE: Final = 67
ANNOUNCEMENT_SIZE: Final = HEADER_SIZE + NONCE_SIZE + SEALED_SIZE

_HEADER = struct.Struct(">BH")
_WORD = struct.Struct(">B32sH16s")


class WordKind(enum.IntEnum):
    """Whether who hears it should say where it is too."""

    QUESTION = 1
    ANSWER = 2


@frozen
class Sealed:
    """An announcement as it travels; `header` is what the seal covers beside it."""

    header: bytes
    day: int
    nonce: bytes
    sealed: bytes


@frozen
class Word:
    """What is inside: a member, 32 bytes of key, and where it is on this link."""

    kind: WordKind
    key: bytes
    host: str
    port: int


def serialise_header(day: int) -> bytes:
    """Return the first 3 bytes of an announcement of that day."""
    return _HEADER.pack(VERSION, day)


def parse_announcement(data: bytes) -> Sealed:
    """Take an announcement apart; raises `CodecError` if it has not that form."""
    if len(data) != ANNOUNCEMENT_SIZE:
        raise CodecError("LAN announcement: bad length")
    version, day = _HEADER.unpack_from(data)
    if version != VERSION:
        raise CodecError("LAN announcement: another version")
    body = data[HEADER_SIZE:]
    return Sealed(data[:HEADER_SIZE], day, body[:NONCE_SIZE], body[NONCE_SIZE:])


def serialise_word(word: Word) -> bytes:
    """Return the bytes that are to be sealed."""
    address = ipaddress.ip_address(word.host)
    packed = address.packed
    if address.version == 4:
        packed = bytes(10) + b"\xff\xff" + packed
    return _WORD.pack(word.kind, word.key, word.port, packed)


def parse_word(data: bytes) -> Word:
    """Undo `serialise_word`; raises `CodecError`."""
    if len(data) != _WORD.size:
        raise CodecError("LAN word: bad length")
    kind, key, port, packed = _WORD.unpack(data)
    if kind not in (WordKind.QUESTION, WordKind.ANSWER) or port == 0:
        raise CodecError("LAN word: bad kind or port")
    address = ipaddress.IPv6Address(packed)
    return Word(WordKind(kind), key, str(address.ipv4_mapped or address), port)
