"""PCP (RFC 6887): what a host asks of its router, and what the router answers.

A request or answer has a header of 24 bytes; for a mapping 36 bytes follow, then
options, of which we send none and heed none. IPv4 addresses travel as ::ffff:a.b.c.d.
All integers are big-endian.
"""

import enum
import ipaddress
import struct
from typing import Final

from meshnode.errors import CodecError
from meshnode.types import Endpoint
from meshnode.values import frozen

VERSION: Final = 2
NONCE_SIZE: Final = 12
MAX_BYTES: Final = 1100

_ANNOUNCE, _MAP = 0, 1
_ANSWER = 0x80
_UDP = 17
_REQUEST = struct.Struct(">BBHI16s")
_HEADER = struct.Struct(">BBBBII12x")
_MAPPING = struct.Struct(">12sB3xHH16s")


class Result(enum.IntEnum):
    """Why a router refuses (RFC 6887, 7.4)."""

    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


@frozen
class Mapped:
    """A UDP port is open at `external` for `lifetime` seconds; for 0 not any more.

    `nonce` is that of the request, 12 bytes.
    """

    epoch: int
    lifetime: int
    nonce: bytes
    internal_port: int
    external: Endpoint


@frozen
class Refused:
    """The router refuses for `lifetime` seconds.

    `result` is one of `Result`, or of a later version; `nonce` is b"" if the answer
    repeats no request for a mapping.
    """

    epoch: int
    lifetime: int
    result: int
    nonce: bytes


@frozen
class Announced:
    """The router tells its epoch: it may have lost its mappings."""

    epoch: int


Answer = Mapped | Refused | Announced


def map_request(
    client: str, nonce: bytes, internal_port: int, external_port: int, lifetime: int
) -> bytes:
    """Ask that a UDP port be forwarded to us, or for IPv6 be let through.

    *client* is our address, which the request must come from; *nonce* 12 bytes that
    nobody else knows; *external_port* a wish, 0 for none; *lifetime* seconds, 0 to end
    it.
    """
    address = _packed(client)
    none = "0.0.0.0" if ipaddress.ip_address(client).version == 4 else "::"
    header = _REQUEST.pack(VERSION, _MAP, 0, lifetime, address)
    return header + _MAPPING.pack(
        nonce, _UDP, internal_port, external_port, _packed(none)
    )


def parse_answer(data: bytes) -> Answer:
    """Read an answer or an announcement.

    Raises:
        CodecError: if it is none to a question of ours.
    """
    if not _HEADER.size <= len(data) <= MAX_BYTES or len(data) % 4:
        raise CodecError("PCP: bad length")
    version, opcode, _, result, lifetime, epoch = _HEADER.unpack_from(data)
    if not opcode & _ANSWER:
        raise CodecError("PCP: no answer")
    is_whole = len(data) >= _HEADER.size + _MAPPING.size
    is_map = opcode == _ANSWER | _MAP
    if result:
        # What refuses our version is of another one.
        if version != VERSION and result != Result.UNSUPP_VERSION:
            raise CodecError("PCP: another version")
        nonce = _MAPPING.unpack_from(data, _HEADER.size)[0] if is_whole else b""
        return Refused(epoch, lifetime, result, nonce)
    if version != VERSION:
        raise CodecError("PCP: another version")
    if opcode == _ANSWER | _ANNOUNCE:
        return Announced(epoch)
    if not (is_map and is_whole):
        raise CodecError("PCP: not an answer to a question of ours")
    nonce, protocol, internal, external, packed = _MAPPING.unpack_from(
        data, _HEADER.size
    )
    if protocol != _UDP:
        raise CodecError("PCP: not a UDP mapping")
    return Mapped(epoch, lifetime, nonce, internal, Endpoint(_host(packed), external))


def _packed(host: str) -> bytes:
    address = ipaddress.ip_address(host)
    if address.version == 4:
        return bytes(10) + b"\xff\xff" + address.packed
    return address.packed


def _host(packed: bytes) -> str:
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)
