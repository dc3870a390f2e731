"""Early calls, type 9: probe me, said before there is a session to say it in.

    u32 9 | u64 version | the sender's endpoint record

It goes along with a question for a relay channel, and no other way. The record is
signed, so nobody can say it for the sender. `version` is that of the receiver's own
endpoint record by which the sender's NATs were opened. Integers are little-endian.
"""

import struct
from typing import Final

from meshnode.errors import CodecError
from meshnode.values import frozen

EARLY_CALL_TYPE: Final = 9

_HEADER: Final = struct.Struct("<IQ")


@frozen
class EarlyCall:
    """What an early call says: `version` of the receiver's record, and the *record*."""

    version: int
    record: bytes


def encode_early_call(call: EarlyCall) -> bytes:
    """Return the bytes of *call*.

    Raises:
        CodecError: if the version has more than 64 bits.
    """
    if not 0 <= call.version < 2**64:
        raise CodecError("a version has 64 bits")
    return _HEADER.pack(EARLY_CALL_TYPE, call.version) + call.record


def decode_early_call(data: bytes) -> EarlyCall:
    """Return what *data* says; the record in it is not looked at.

    Raises:
        CodecError: if it is of another type, or too short.
    """
    if len(data) <= _HEADER.size:
        raise CodecError("an early call is cut short")
    kind, version = _HEADER.unpack_from(data)
    if kind != EARLY_CALL_TYPE:
        raise CodecError("no early call")
    return EarlyCall(version, bytes(data[_HEADER.size :]))
