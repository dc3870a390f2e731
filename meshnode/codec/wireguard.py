"""The four message types of WireGuard as bytes (paper 5.4.2 to 5.4.7), and one of ours.

All integers are little-endian. The type is read as 32 bits, so the three reserved
bytes must be zero. Handshake messages have one length each; nothing is parsed at
another one.

Type 8 is data as type 4 is, under another cipher (`types.Cipher`). Only who said that
it takes it is sent any.
"""

import struct
from collections.abc import Callable
from typing import Final

from meshnode.errors import BadPacket, DropReason
from meshnode.types import Cipher
from meshnode.values import frozen

INITIATION_TYPE: Final = 1
RESPONSE_TYPE: Final = 2
COOKIE_REPLY_TYPE: Final = 3
DATA_TYPE: Final = int(Cipher.CHACHA20_POLY1305)
DATA_TYPES: Final = frozenset(map(int, Cipher))

INITIATION_SIZE: Final = 148
RESPONSE_SIZE: Final = 92
COOKIE_REPLY_SIZE: Final = 64

# Type, receiver index, counter: what stands before the ciphertext of a data message.
DATA_HEADER: Final = struct.Struct("<IIQ")
# Header and tag: what a data message has beyond its plaintext; a keepalive's length.
DATA_OVERHEAD: Final = 32

MAC_SIZE: Final = 16
ZERO_MAC: Final = bytes(MAC_SIZE)

_TYPE = struct.Struct("<I")
_INITIATION = struct.Struct("<II32s48s28s16s16s")
_RESPONSE = struct.Struct("<III32s16s16s16s")
_COOKIE_REPLY = struct.Struct("<II24s32s")


@frozen
class Initiation:
    """First handshake message (5.4.2); `encrypted_*` include their tags.

    `sender` is the initiator's 32-bit index. Sizes: ephemeral 32,
    encrypted_static 48, encrypted_timestamp 28, each mac 16 bytes.
    """

    sender: int
    ephemeral: bytes
    encrypted_static: bytes
    encrypted_timestamp: bytes
    mac1: bytes = ZERO_MAC
    mac2: bytes = ZERO_MAC

    def serialise(self) -> bytes:
        """Return the 148 bytes of the message."""
        return _INITIATION.pack(
            INITIATION_TYPE,
            self.sender,
            self.ephemeral,
            self.encrypted_static,
            self.encrypted_timestamp,
            self.mac1,
            self.mac2,
        )


@frozen
class Response:
    """Second handshake message (5.4.3).

    `sender` is the responder's index, `receiver` the initiator's. Sizes: ephemeral
    32, encrypted_nothing 16, each mac 16 bytes.
    """

    sender: int
    receiver: int
    ephemeral: bytes
    encrypted_nothing: bytes
    mac1: bytes = ZERO_MAC
    mac2: bytes = ZERO_MAC

    def serialise(self) -> bytes:
        """Return the 92 bytes of the message."""
        return _RESPONSE.pack(
            RESPONSE_TYPE,
            self.sender,
            self.receiver,
            self.ephemeral,
            self.encrypted_nothing,
            self.mac1,
            self.mac2,
        )


@frozen
class CookieReply:
    """Answer under load to an initiation or response (5.4.7).

    `receiver` is the sender index of the message it answers. Sizes: nonce 24,
    encrypted_cookie 32 bytes.
    """

    receiver: int
    nonce: bytes
    encrypted_cookie: bytes

    def serialise(self) -> bytes:
        """Return the 64 bytes of the message."""
        return _COOKIE_REPLY.pack(
            COOKIE_REPLY_TYPE, self.receiver, self.nonce, self.encrypted_cookie
        )


HandshakeMessage = Initiation | Response | CookieReply


def message_type(data: bytes) -> int:
    """Return the 32-bit type of a datagram; 0, which no message has, if too short."""
    return int.from_bytes(data[:4], "little") if len(data) >= _TYPE.size else 0


def parse_handshake(data: bytes) -> HandshakeMessage:
    """Read an initiation, a response or a cookie reply.

    Raises:
        BadPacket: BAD_LENGTH if shorter than a type or not of its type's length;
            BAD_TYPE for every other type, data included.
    """
    if len(data) < _TYPE.size:
        raise BadPacket(DropReason.BAD_LENGTH)
    known = _PARSERS.get(message_type(data))
    if known is None:
        raise BadPacket(DropReason.BAD_TYPE)
    size, parse = known
    if len(data) != size:
        raise BadPacket(DropReason.BAD_LENGTH)
    return parse(data)


def _parse_initiation(data: bytes) -> Initiation:
    return Initiation(*_INITIATION.unpack(data)[1:])


def _parse_response(data: bytes) -> Response:
    return Response(*_RESPONSE.unpack(data)[1:])


def _parse_cookie_reply(data: bytes) -> CookieReply:
    return CookieReply(*_COOKIE_REPLY.unpack(data)[1:])


_PARSERS: Final[dict[int, tuple[int, Callable[[bytes], HandshakeMessage]]]] = {
    INITIATION_TYPE: (INITIATION_SIZE, _parse_initiation),
    RESPONSE_TYPE: (RESPONSE_SIZE, _parse_response),
    COOKIE_REPLY_TYPE: (COOKIE_REPLY_SIZE, _parse_cookie_reply),
}
