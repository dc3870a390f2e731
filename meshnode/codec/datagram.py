"""A handshake datagram and its path, as ingress passes it to control.

The parts: both address lengths (0 for no local address), port, zone, local interface
and port (0 for the node's own), the addresses in network order, and then the datagram
itself.
"""

import ipaddress
import struct

from meshnode.types import Datagram, Endpoint, Path, Source

_HEADER = struct.Struct(">BBHIIH")
_REMOTE_SIZES = (4, 16)
_SOURCE_SIZES = (0, 4, 16)


def encode_datagram(datagram: Datagram) -> bytes:
    """Return *datagram* and its path as one message."""
    remote, source = datagram.path.remote, datagram.path.source
    host = _pack(remote.host)
    local = _pack(source.host) if source else b""
    interface, local_port = (source.interface, source.port) if source else (0, 0)
    header = _HEADER.pack(
        *(len(host), len(local), remote.port, remote.scope_id, interface, local_port)
    )
    return b"".join((header, host, local, datagram.data))


def decode_datagram(message: bytes) -> Datagram:
    """Return the datagram that `encode_datagram` made *message* from.

    Raises:
        ValueError: if it cannot have made it.
    """
    if len(message) < _HEADER.size:
        raise ValueError("the message is cut off")
    fields = _HEADER.unpack_from(message)
    remote_size, source_size, port, scope_id, interface, local_port = fields
    local_at = _HEADER.size + remote_size
    data_at = local_at + source_size
    if (
        remote_size not in _REMOTE_SIZES
        or source_size not in _SOURCE_SIZES
        or data_at > len(message)
    ):
        raise ValueError("the message has no such addresses")
    host = _text(message[_HEADER.size : local_at])
    source = None
    if source_size:
        local = _text(message[local_at:data_at])
        source = Source(local, interface, local_port)
    path = Path(Endpoint(host, port, scope_id), source)
    return Datagram(message[data_at:], path)


def _pack(host: str) -> bytes:
    """Return a numeric address in network order; canonical IPv4 takes a short cut."""
    if ":" in host:
        return ipaddress.IPv6Address(host).packed
    return bytes(map(int, host.split(".")))


def _text(packed: bytes) -> str:
    """Return the canonical text of 4 or 16 bytes."""
    if len(packed) == 4:
        return ".".join(map(str, packed))
    return str(ipaddress.IPv6Address(packed))
