# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Bursts: equal-sized datagrams of one peer, one behind the other; and how they leave.

Linux takes up to 64 datagrams as one message (UDP_SEGMENT, since 4.18), of which the last
may be shorter, and messages for many peers by one call. Where they leave from travels
beside them (IP_PKTINFO, RFC 3542).
"""

from libc.errno cimport EINTR, errno as c_errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memmove, memset

from meshnode.dataplane.fast.channels cimport PREFIX_BYTES, put_prefix
from meshnode.dataplane.fast.libc cimport (
    CMSG_DATA,
    CMSG_FIRSTHDR,
    CMSG_LEN,
    CMSG_NXTHDR,
    CMSG_SPACE,
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_PKTINFO,
    MSG_DONTWAIT,
    SOL_UDP,
    UDP_SEGMENT,
    cmsghdr,
    iovec,
    msghdr,
    sendmmsg,
)
from meshnode.dataplane.fast.paths cimport RawPath, address_size, info_size


cdef void add_burst(
    Outgoing *outgoing, RawPath *path, const Burst *burst
) noexcept nogil:
    """Let *burst* be the next to leave, by *path*; both stay where they are until then."""
    cdef int number = outgoing.count
    cdef msghdr *message = &outgoing.messages[number].msg_hdr
    cdef iovec *piece = &outgoing.pieces[number]
    cdef uint8_t *control = outgoing.controls[number]
    cdef cmsghdr *header
    cdef uint16_t segment = burst.segment
    cdef size_t used = 0
    outgoing.count += 1
    memset(message, 0, sizeof(msghdr))
    memset(control, 0, CONTROL_BYTES)
    piece.iov_base, piece.iov_len = burst.data, burst.used
    message.msg_name, message.msg_namelen = path.remote, address_size(path)
    message.msg_iov, message.msg_iovlen = piece, 1
    message.msg_control = control
    message.msg_controllen = CONTROL_BYTES
    header = CMSG_FIRSTHDR(message)
    if burst.count > 1:
        header.cmsg_level, header.cmsg_type = SOL_UDP, UDP_SEGMENT
        header.cmsg_len = CMSG_LEN(sizeof(segment))
        memcpy(CMSG_DATA(header), &segment, sizeof(segment))
        used += CMSG_SPACE(sizeof(segment))
        header = CMSG_NXTHDR(message, header)
    if path.has_source:
        header.cmsg_level = IPPROTO_IP if path.version == 4 else IPPROTO_IPV6
        header.cmsg_type = IP_PKTINFO if path.version == 4 else IPV6_PKTINFO
        header.cmsg_len = CMSG_LEN(info_size(path))
        memcpy(CMSG_DATA(header), path.info, info_size(path))
        used += CMSG_SPACE(info_size(path))
    message.msg_controllen = used
    if not used:
        message.msg_control = NULL


cdef int send_from(Outgoing *outgoing, int first, int descriptor) noexcept nogil:
    """Send what there is from *first* on; return how many the kernel took, one by one."""
    cdef int count
    while True:
        count = sendmmsg(
            descriptor, outgoing.messages + first, outgoing.count - first, MSG_DONTWAIT
        )
        if count >= 0 or c_errno != EINTR:
            return max(count, 0)


cdef void relabel(Burst *burst, uint32_t before, uint32_t label) noexcept nogil:
    """Make datagrams with the label *before* those with *label*, 0 for no prefix.

    Where there was none, there must be none.
    """
    cdef uint8_t *out = burst.data
    cdef int at = 0
    cdef int length
    if before and label:
        while at < burst.used:
            put_prefix(burst.data + at, label)
            at += burst.segment
    elif before:
        while at < burst.used:
            length = min(burst.segment, burst.used - at) - PREFIX_BYTES
            memmove(out, burst.data + at + PREFIX_BYTES, length)
            out += length
            at += burst.segment
        burst.used = <int>(out - burst.data)
        burst.segment -= PREFIX_BYTES
        burst.last -= PREFIX_BYTES
