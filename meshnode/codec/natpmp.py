"""NAT-PMP (RFC 6886): what a host asks of its router, and what the router answers.

    0         1         2                   4
    | version | opcode  | reserved / result | epoch …

All integers are big-endian. An answer has bit 7 of the opcode set; its result is 0
for success. The epoch is the seconds since the router lost its mappings last.
"""

import enum
import ipaddress
import struct
from typing import Final

from meshnode.errors import CodecError
from meshnode.values import frozen

VERSION: Final = 0
PORT: Final = 5351
"""Where routers listen, for PCP too."""

_ADDRESS, _MAP_UDP = 0, 1
_ANSWER = 0x80
_HEADER = struct.Struct(">BBHI")
_ADDRESS_ANSWER = struct.Struct(">BBHI4s")
_MAP_ANSWER = struct.Struct(">BBHIHHI")
_MAP_REQUEST = struct.Struct(">BBHHHI")


class Result(enum.IntEnum):
    """Why a router refuses (RFC 6886, 3.5)."""

    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


@frozen
class ExternalAddress:
    """The router's outside IPv4 address, 0.0.0.0 if it has none."""

    epoch: int
    host: str


@frozen
class Mapped:
    """A UDP port is forwarded for `lifetime` seconds; for 0 it is not any more."""

    epoch: int
    internal_port: int
    external_port: int
    lifetime: int


@frozen
class Refused:
    """The router refuses; `result` is one of `Result`, or of a later version."""

    epoch: int
    result: int


Answer = ExternalAddress | Mapped | Refused


def address_request() -> bytes:
    """Ask for the router's outside address."""
    return bytes((VERSION, _ADDRESS))


def map_request(internal_port: int, external_port: int, lifetime: int) -> bytes:
    """Ask that a UDP port be forwarded to us.

    *external_port* is a wish, 0 for none; *lifetime* is seconds, 0 to end it.
    """
    return _MAP_REQUEST.pack(
        VERSION, _MAP_UDP, 0, internal_port, external_port, lifetime
    )


def parse_answer(data: bytes) -> Answer:
    """Read an answer.

    Raises:
        CodecError: if it is none to a question of ours.
    """
    if len(data) < _HEADER.size:
        raise CodecError("NAT-PMP: too short")
    version, opcode, result, epoch = _HEADER.unpack_from(data)
    # To a version that it does not know, a router may answer with any opcode.
    if version != VERSION or not opcode & _ANSWER:
        raise CodecError("NAT-PMP: no answer")
    if result:
        return Refused(epoch, result)
    if opcode == _ANSWER | _ADDRESS and len(data) == _ADDRESS_ANSWER.size:
        packed = _ADDRESS_ANSWER.unpack(data)[4]
        return ExternalAddress(epoch, str(ipaddress.IPv4Address(packed)))
    if opcode == _ANSWER | _MAP_UDP and len(data) == _MAP_ANSWER.size:
        return Mapped(epoch, *_MAP_ANSWER.unpack(data)[4:])
    raise CodecError("NAT-PMP: not an answer to a question of ours")
