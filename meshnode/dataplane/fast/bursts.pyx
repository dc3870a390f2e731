# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Equal-sized datagrams of one peer, one behind the other, that leave by one call.

Linux takes up to 64 of them at once (UDP_SEGMENT, since 4.18); the last may be shorter.
Where they leave from travels beside them (IP_PKTINFO, RFC 3542).
"""

from libc.errno cimport EINTR, errno as c_errno
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy, memset

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
    sendmsg,
)
from meshnode.dataplane.fast.paths cimport RawPath, address_size, info_size

cdef enum:
    _CONTROL_BYTES = 128


cdef bint send_burst(int descriptor, RawPath *path, const Burst *burst) noexcept nogil:
    """Send by one call; return whether the kernel took all of it."""
    cdef msghdr message
    cdef iovec piece
    cdef uint8_t control[_CONTROL_BYTES]
    cdef cmsghdr *header
    cdef uint16_t segment = burst.segment
    cdef size_t used = 0
    memset(&message, 0, sizeof(message))
    memset(control, 0, sizeof(control))
    piece.iov_base, piece.iov_len = burst.data, burst.used
    message.msg_name, message.msg_namelen = path.remote, address_size(path)
    message.msg_iov, message.msg_iovlen = &piece, 1
    message.msg_control = control
    message.msg_controllen = sizeof(control)
    header = CMSG_FIRSTHDR(&message)
    if burst.count > 1:
        header.cmsg_level, header.cmsg_type = SOL_UDP, UDP_SEGMENT
        header.cmsg_len = CMSG_LEN(sizeof(segment))
        memcpy(CMSG_DATA(header), &segment, sizeof(segment))
        used += CMSG_SPACE(sizeof(segment))
        header = CMSG_NXTHDR(&message, header)
    if path.has_source:
        header.cmsg_level = IPPROTO_IP if path.version == 4 else IPPROTO_IPV6
        header.cmsg_type = IP_PKTINFO if path.version == 4 else IPV6_PKTINFO
        header.cmsg_len = CMSG_LEN(info_size(path))
        memcpy(CMSG_DATA(header), path.info, info_size(path))
        used += CMSG_SPACE(info_size(path))
    message.msg_controllen = used
    if not used:
        message.msg_control = NULL
    while sendmsg(descriptor, &message, MSG_DONTWAIT) < 0:
        if c_errno != EINTR:
            return False
    return True
