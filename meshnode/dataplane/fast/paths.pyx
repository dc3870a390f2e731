# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Paths as the kernel reads and writes them: socket address and packet information.

Two paths are the same if their bytes are; what the kernel adds and a `Path` does not
know (the destination address beside the local one) is left zero.
"""

import socket

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from meshnode.dataplane.fast.libc cimport (
    AF_INET,
    AF_INET6,
    CMSG_DATA,
    CMSG_FIRSTHDR,
    CMSG_NXTHDR,
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_PKTINFO,
    SOL_UDP,
    UDP_GRO,
    cmsghdr,
    in6_pktinfo,
    in_pktinfo,
    msghdr,
    sockaddr_in,
    sockaddr_in6,
)
from meshnode.dataplane.fast.wire cimport big16, put_big16

from meshnode.channels import channel_of, endpoint_of
from meshnode.types import Endpoint, Path, Source


cdef int address_size(const RawPath *raw) noexcept nogil:
    """Return the bytes of `remote` in use."""
    return sizeof(sockaddr_in) if raw.version == 4 else sizeof(sockaddr_in6)


cdef int info_size(const RawPath *raw) noexcept nogil:
    """Return the bytes of `info` in use."""
    return sizeof(in_pktinfo) if raw.version == 4 else sizeof(in6_pktinfo)


cdef bint is_same(const RawPath *one, const RawPath *other) noexcept nogil:
    """Whether packets of both come and go the same way."""
    if one.version != other.version or one.has_source != other.has_source:
        return False
    if one.channel != other.channel or one.port != other.port:
        return False
    if memcmp(one.remote, other.remote, ADDRESS_BYTES):
        return False
    return memcmp(one.info, other.info, INFO_BYTES) == 0


cdef int encode(object path, RawPath *raw) except -1:
    """Write *path*, or None for none, as the kernel wants it.

    Of a relay channel only the number is written; to the kernel it is nowhere.
    """
    cdef sockaddr_in v4
    cdef sockaddr_in6 v6
    cdef in_pktinfo info4
    cdef in6_pktinfo info6
    cdef bytes host, local
    memset(raw, 0, sizeof(RawPath))
    if path is None:
        return 0
    remote, source = path.remote, path.source
    raw.channel = channel_of(remote)
    if raw.channel:
        return 0
    if remote.version == 4:
        host = socket.inet_pton(socket.AF_INET, remote.host)
        memset(&v4, 0, sizeof(v4))
        v4.sin_family = AF_INET
        put_big16(<uint8_t *>&v4.sin_port, remote.port)
        memcpy(&v4.sin_addr, <const uint8_t *>host, 4)
        memcpy(raw.remote, &v4, sizeof(v4))
    else:
        host = socket.inet_pton(socket.AF_INET6, remote.host)
        memset(&v6, 0, sizeof(v6))
        v6.sin6_family = AF_INET6
        put_big16(<uint8_t *>&v6.sin6_port, remote.port)
        memcpy(&v6.sin6_addr, <const uint8_t *>host, 16)
        v6.sin6_scope_id = remote.scope_id
        memcpy(raw.remote, &v6, sizeof(v6))
    raw.version = remote.version
    if source is None:
        return 0
    raw.has_source, raw.port = True, source.port
    if remote.version == 4:
        local = socket.inet_pton(socket.AF_INET, source.host)
        memset(&info4, 0, sizeof(info4))
        info4.ipi_ifindex = source.interface
        memcpy(&info4.ipi_spec_dst, <const uint8_t *>local, 4)
        memcpy(raw.info, &info4, sizeof(info4))
    else:
        local = socket.inet_pton(socket.AF_INET6, source.host)
        memset(&info6, 0, sizeof(info6))
        info6.ipi6_ifindex = source.interface
        memcpy(&info6.ipi6_addr, <const uint8_t *>local, 16)
        memcpy(raw.info, &info6, sizeof(info6))
    return 0


cdef int received(msghdr *message, uint16_t port, RawPath *raw) noexcept nogil:
    """Read where a message came from; return the size of its datagrams, 0 if one.

    *port* is that of the socket, 0 for the node's own.
    """
    cdef int segment = 0
    cdef in_pktinfo *info4
    cdef sockaddr_in6 *v6
    cdef cmsghdr *header = CMSG_FIRSTHDR(message)
    memset(raw, 0, sizeof(RawPath))
    if (<sockaddr_in *>message.msg_name).sin_family == AF_INET:
        raw.version = 4
        # Family, port and address; the rest is padding.
        memcpy(raw.remote, message.msg_name, 8)
    else:
        raw.version = 6
        memcpy(raw.remote, message.msg_name, sizeof(sockaddr_in6))
        v6 = <sockaddr_in6 *>raw.remote
        v6.sin6_flowinfo = 0
    while header != NULL:
        if header.cmsg_level == SOL_UDP and header.cmsg_type == UDP_GRO:
            memcpy(&segment, CMSG_DATA(header), sizeof(int))
        elif header.cmsg_level == IPPROTO_IP and header.cmsg_type == IP_PKTINFO:
            memcpy(raw.info, CMSG_DATA(header), sizeof(in_pktinfo))
            info4 = <in_pktinfo *>raw.info
            info4.ipi_addr.s_addr = 0
            raw.has_source = True
        elif header.cmsg_level == IPPROTO_IPV6 and header.cmsg_type == IPV6_PKTINFO:
            memcpy(raw.info, CMSG_DATA(header), sizeof(in6_pktinfo))
            raw.has_source = True
        header = CMSG_NXTHDR(message, header)
    if raw.has_source:
        raw.port = port
    return segment


cdef object decode(const RawPath *raw):
    """Return *raw* as a `Path`."""
    cdef const sockaddr_in *v4 = <const sockaddr_in *>raw.remote
    cdef const sockaddr_in6 *v6 = <const sockaddr_in6 *>raw.remote
    cdef const in_pktinfo *info4 = <const in_pktinfo *>raw.info
    cdef const in6_pktinfo *info6 = <const in6_pktinfo *>raw.info
    source = None
    if raw.channel:
        return Path(endpoint_of(raw.channel))
    port = big16(raw.remote + 2)
    if raw.version == 4:
        host = _text(socket.AF_INET, (<const uint8_t *>&v4.sin_addr)[:4])
        if raw.has_source:
            local = _text(socket.AF_INET, (<const uint8_t *>&info4.ipi_spec_dst)[:4])
            source = Source(local, info4.ipi_ifindex, raw.port)
        return Path(Endpoint(host, port, 0), source)
    host = _text(socket.AF_INET6, (<const uint8_t *>&v6.sin6_addr)[:16])
    if raw.has_source:
        local = _text(socket.AF_INET6, (<const uint8_t *>&info6.ipi6_addr)[:16])
        source = Source(local, info6.ipi6_ifindex, raw.port)
    return Path(Endpoint(host, port, v6.sin6_scope_id), source)


def _text(family, bytes address):
    return socket.inet_ntop(family, address)


def round_trip(path):
    """Return *path* after it was encoded and decoded; for tests."""
    cdef RawPath raw
    encode(path, &raw)
    return decode(&raw)
