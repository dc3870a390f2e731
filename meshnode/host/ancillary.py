"""Ancillary data of a UDP socket: the local address, and segment sizes.

Pure: values in, control messages out, and back. The layouts are `struct in_pktinfo`
(ip(7)), `struct in6_pktinfo` (RFC 3542, section 6) and the integers of UDP_SEGMENT
and UDP_GRO (udp(7)).
"""

import ipaddress
import struct
from collections.abc import Iterable
from functools import lru_cache

from meshnode.types import Endpoint, Path, Source

IPPROTO_IP = 0
IPPROTO_UDP = 17
IPPROTO_IPV6 = 41
IP_TTL = 2
IP_PKTINFO = 8
IPV6_PKTINFO = 50
IPV6_HOPLIMIT = 52
UDP_SEGMENT = 103
UDP_GRO = 104

RECEIVE_SPACE = 128
"""Enough room for every control message these sockets are asked to give."""

_PKTINFO4 = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")
_SEGMENT = struct.Struct("=H")
_GRO_SIZE = struct.Struct("=i")
_HOPS = struct.Struct("=i")

ControlMessage = tuple[int, int, bytes]
"""Level, type and data, as `socket.sendmsg` takes them and `recvmsg` gives them."""


def sockaddr_of(remote: Endpoint) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return the address tuple that `socket.sendto` takes for *remote*."""
    if remote.version == 6:
        return remote.host, remote.port, 0, remote.scope_id
    return remote.host, remote.port


def ancillary_for(
    path: Path, segment_size: int | None = None, *, hops: int = 0
) -> list[ControlMessage]:
    """Return the control messages that send along *path* from its source.

    With *segment_size* (1 to 65535) the payload is cut into datagrams of that size,
    the last one perhaps shorter. *hops* (1 to 255) is how many routers it may come to,
    0 for as many as usual.
    """
    messages: list[ControlMessage] = []
    if path.source is not None:
        messages.append(_source_message(path.source))
    if segment_size is not None:
        messages.append((IPPROTO_UDP, UDP_SEGMENT, _SEGMENT.pack(segment_size)))
    if hops:
        is_ipv4 = path.remote.version == 4
        level, kind = (IPPROTO_IP, IP_TTL) if is_ipv4 else (IPPROTO_IPV6, IPV6_HOPLIMIT)
        messages.append((level, kind, _HOPS.pack(hops)))
    return messages


def path_from(
    sockaddr: tuple[str, int] | tuple[str, int, int, int],
    ancdata: Iterable[ControlMessage],
) -> tuple[Path, int | None]:
    """Return the path a payload took, and the size of its segments if it was merged.

    The path has no source when the kernel told none that can be answered from, as
    for a datagram to a multicast group.
    """
    scope_id = sockaddr[3] if len(sockaddr) == 4 else 0
    source = None
    segment_size = None
    for level, kind, data in ancdata:
        if (level, kind) in ((IPPROTO_IP, IP_PKTINFO), (IPPROTO_IPV6, IPV6_PKTINFO)):
            source = _parse_source(level, data)
        elif (level, kind) == (IPPROTO_UDP, UDP_GRO) and len(data) >= _GRO_SIZE.size:
            segment_size = _GRO_SIZE.unpack_from(data)[0]
    return Path(Endpoint(sockaddr[0], sockaddr[1], scope_id), source), segment_size


def split_segments(payload: bytes, segment_size: int | None) -> list[bytes]:
    """Cut a merged payload into its datagrams; one that was not merged stays whole."""
    if segment_size is None or segment_size <= 0:
        return [payload]
    return [
        payload[start : start + segment_size]
        for start in range(0, len(payload), segment_size)
    ]


@lru_cache(maxsize=256)  # a host has few addresses, and a flood asks for one a message
def _source_message(source: Source) -> ControlMessage:
    address = ipaddress.ip_address(source.host)
    if address.version == 4:
        info = _PKTINFO4.pack(source.interface, address.packed, bytes(4))
        return IPPROTO_IP, IP_PKTINFO, info
    return (
        IPPROTO_IPV6,
        IPV6_PKTINFO,
        _PKTINFO6.pack(address.packed, source.interface),
    )


def _parse_source(level: int, data: bytes) -> Source | None:
    layout = _PKTINFO4 if level == IPPROTO_IP else _PKTINFO6
    if len(data) < layout.size:
        return None
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    if level == IPPROTO_IP:
        # The second field, not the third: that one is the destination in the
        # header, which for a broadcast is no address of ours.
        interface, local, _ = _PKTINFO4.unpack_from(data)
        address = ipaddress.IPv4Address(local)
    else:
        packed, interface = _PKTINFO6.unpack_from(data)
        address = ipaddress.IPv6Address(packed)
    if address.is_multicast or address.is_unspecified:
        return None
    return Source(str(address), interface)
