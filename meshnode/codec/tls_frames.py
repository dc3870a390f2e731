"""Datagrams in a byte stream: `u16 length (big-endian) | datagram`, again and again."""

import struct
from typing import Final

from meshnode.errors import CodecError

MAX_FRAME: Final = 65_507
"""Bytes of the longest datagram that UDP over IPv4 carries."""

_LENGTH: Final = struct.Struct(">H")


def encode_frame(datagram: bytes) -> bytes:
    """Return the bytes of *datagram* in the stream.

    Raises:
        CodecError: if it is empty or longer than `MAX_FRAME`.
    """
    if not 1 <= len(datagram) <= MAX_FRAME:
        raise CodecError("no datagram of a possible length")
    return _LENGTH.pack(len(datagram)) + datagram


class FrameReader:
    """Finds the datagrams in a stream, in whatever pieces it comes.

    It holds less than one frame between two calls.
    """

    def __init__(self) -> None:
        self._data = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """Take a piece of the stream; return the datagrams that are whole now.

        Raises:
            CodecError: if a length is none of a frame; the stream is of no use then.
        """
        self._data += data
        found: list[bytes] = []
        at = 0
        while len(self._data) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data, at)
            if not 1 <= length <= MAX_FRAME:
                raise CodecError(f"a frame of {length} bytes")
            end = at + _LENGTH.size + length
            if end > len(self._data):
                break
            found.append(bytes(self._data[at + _LENGTH.size : end]))
            at = end
        del self._data[:at]
        return found
