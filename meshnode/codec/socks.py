"""What both sides of SOCKS5 say: commands, addresses, the header of datagrams.

An address (RFC 1928, 4 and 5): its kind (1 byte), then 4 bytes of IPv4, 16 of IPv6, or
a length byte and a name; then the port (2 bytes, big-endian).

A datagram (RFC 1928, 7): two zero bytes, the number of the fragment (1 byte; always 0
here), an address, and the data.
"""

import enum
import ipaddress
import re
import struct
from typing import Final

from meshnode.errors import CodecError
from meshnode.types import Endpoint, Target

IPV4: Final = 1
NAME: Final = 3
IPV6: Final = 4
KINDS: Final = frozenset((IPV4, NAME, IPV6))

NOWHERE: Final = Endpoint("0.0.0.0", 0)
"""Said where there is no address to say."""

MAX_NAME: Final = 255
"""Bytes of a name: its length is a byte."""

MAX_HEADER: Final = 3 + 1 + 1 + MAX_NAME + 2
"""Bytes of the longest header of a datagram."""

_SIZES: Final = {IPV4: 4, IPV6: 16}
# Names of hosts as they are in use, and IPv6 addresses that are sent as names.
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,255}", re.ASCII)


class Command(enum.IntEnum):
    """What a client wants of a proxy (RFC 1928, 4)."""

    CONNECT = 1
    BIND = 2
    UDP_ASSOCIATE = 3


def checked_host(host: str) -> str:
    """Return a name as it is, a numeric address in its canonical form.

    Raises:
        CodecError: if it is empty, longer than 255 bytes, or has characters that are
            in no name of a host: control characters, spaces, all beyond ASCII.
    """
    if not _HOST.fullmatch(host):
        raise CodecError("this is no name of a host")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def encode_address(target: Target) -> bytes:
    """Return the bytes of an address: kind, host, port.

    Raises:
        CodecError: if the host is no name, or the port is not 0–65535.
    """
    if not 0 <= target.port <= 65535:
        raise CodecError(f"{target.port} is no port")
    host = checked_host(target.host)
    address = Target(host, 0).address
    if address is None:
        name = host.encode("ascii")
        head = bytes([NAME, len(name)]) + name
    else:
        head = bytes([IPV4 if address.version == 4 else IPV6]) + address.packed
    return head + struct.pack(">H", target.port)


def take_address(data: bytes, start: int) -> tuple[Target, int] | None:
    """Return the address that begins at *start* and where it ends; None if it is cut.

    Raises:
        CodecError: if its kind is unknown, or its name is none.
    """
    if len(data) < start + 2:
        return None
    kind, begin = data[start], start + 1
    if kind not in KINDS:
        raise CodecError("an unknown kind of address")
    if kind == NAME:
        begin += 1
    end = begin + _SIZES.get(kind, data[start + 1])
    if len(data) < end + 2:
        return None
    raw = data[begin:end]
    if kind == NAME:
        # What is no ASCII is no name either way, and no other error.
        host = checked_host(raw.decode("latin-1"))
    else:
        host = str(ipaddress.ip_address(raw))
    [port] = struct.unpack_from(">H", data, end)
    return Target(host, port), end + 2


def encode_datagram(data: bytes, target: Target) -> bytes:
    """Return *data* behind a header with *target*; raises `CodecError` as it does."""
    return bytes(3) + encode_address(target) + data


def decode_datagram(datagram: bytes) -> tuple[bytes, Target]:
    """Return the data and the address of the header.

    Raises:
        CodecError: if it is a fragment, or has no header.
    """
    if datagram[:2] != bytes(2):
        raise CodecError("a datagram without a header")
    if datagram[2:3] != bytes(1):
        raise CodecError("a fragment of a datagram")
    found = take_address(datagram, 3)
    if found is None:
        raise CodecError("a datagram with half a header")
    target, end = found
    return datagram[end:], target
